//! Certificates and keys in PEM, as administrators paste them.
//!
//! Pasting through consoles and mails breaks lines: white space inside the armour and a BEGIN or END line that was wrapped
//! are accepted (RFC 7468 §2: "Parsers SHOULD ignore whitespace and other non-base64 characters"). What is not certain to be the
//! whole block is refused with the reason.

use crate::error::{KsError, Result};
use crate::secret::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Certificates in one file.
const CERTIFICATES_MAX: usize = 100;
/// Characters of a file that is read.
const TEXT_MAX: usize = 1024 * 1024;
const DASHES: &str = "-----";

/// All certificates of a PEM text, at least one.
///
/// # Errors
/// `BadInput(Key)` that says which block is wrong, and how.
pub fn certificates_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>> {
    if text.len() > TEXT_MAX {
        return Err(KsError::key(format!("PEM text of {} octets is over the limit of {TEXT_MAX}", text.len())));
    }
    // Without white space a wrapped BEGIN or END line is whole again.
    let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    let (begin, end) = ("-----BEGINCERTIFICATE-----", "-----ENDCERTIFICATE-----");
    let mut certificates = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, block)) = rest.split_once(begin) {
        let number = certificates.len() + 1;
        let bad = |why: &str| KsError::key(format!("certificate {number} of the PEM text: {why}"));
        if number > CERTIFICATES_MAX {
            return Err(bad("there are more than 100"));
        }
        let body_len = block.find(DASHES).ok_or_else(|| bad("its END CERTIFICATE line is missing"))?;
        let (body, after) = block.split_at(body_len);
        rest = after.strip_prefix(end).ok_or_else(|| bad("its END CERTIFICATE line is damaged"))?;
        let der = STANDARD.decode(body).map_err(|_| bad("it is not base64 (perhaps a part is missing)"))?;
        Certificate::from_der(&der).map_err(|_| bad("it is not an X.509 certificate (perhaps a part is missing)"))?;
        certificates.push(CertificateDer::from(der));
    }
    if certificates.is_empty() {
        return Err(KsError::key("there is no BEGIN CERTIFICATE line in the PEM text"));
    }
    Ok(certificates)
}

/// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, not encrypted.
///
/// # Errors
/// `BadInput(Key)`; never with a part of the key in it.
pub fn private_key_from_pem(text: &SecretBytes) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text.expose())
        .map_err(|_| KsError::key("there is no private key in the PEM text (PKCS#8, PKCS#1 or SEC1, not encrypted)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        rcgen::CertificateParams::new(vec!["kms.example.com".into()])
            .expect("a name")
            .self_signed(&key)
            .expect("signs")
            .pem()
    }

    #[test]
    fn a_block_whose_lines_were_broken_is_read() {
        let good = pem();
        let whole = certificates_from_pem(&good).expect("as it was");
        for broken in [
            good.replace("-----END CERTIFICATE-----", "-----END CERTIFICATE\n-----"),
            good.replace("-----END CERTIFICATE-----", "-----END\r\n CERTIFICATE-----"),
            good.replace("-----END CERTIFICATE-----", "---\n--END CERTIFICATE-----"),
            good.replace('\n', "\r\n"),
            good.replace('\n', " "),
            format!("subject=CN = kms\n{good}\n"),
        ] {
            assert_eq!(certificates_from_pem(&broken).expect("readable"), whole, "{broken}");
        }
        assert_eq!(certificates_from_pem(&format!("{good}{}", pem())).expect("two").len(), 2);
    }

    #[test]
    fn a_block_that_is_not_whole_is_refused_with_the_reason() {
        let good = pem();
        let lines: Vec<&str> = good.lines().collect();
        for (broken, why) in [
            (String::new(), "no BEGIN CERTIFICATE"),
            (good.replace("-----END CERTIFICATE-----", ""), "END CERTIFICATE line is missing"),
            (good.replace("-----END CERTIFICATE-----", "-----END CERTIF"), "END CERTIFICATE line is damaged"),
            (good.replace("END CERTIFICATE", "END PRIVATE KEY"), "END CERTIFICATE line is damaged"),
            ([&lines[..1], &lines[2..]].concat().join("\n"), "not"),
            (good.replace(lines[1], "*not base64*"), "not base64"),
            (good.replace("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"), "no BEGIN CERTIFICATE"),
        ] {
            let error = certificates_from_pem(&broken).expect_err(why);
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn a_private_key_that_is_none_tells_nothing_of_itself() {
        let error =
            private_key_from_pem(&SecretBytes::copy_of(b"-----BEGIN PRIVATE KEY-----\nhunter2")).expect_err("no key");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
