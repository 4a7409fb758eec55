//! Seeds of the targets over `keygate-pki`, made with the crate itself; and the requests that its tests keep as files.

use std::{error::Error, fs, path::Path};

use keygate_pki::est::{CsrAttribute, certs_only, csr_attributes, encode_body};
use keygate_pki::provisioning::{KeyId, ProvisioningSecret};
use keygate_pki::{
    Certificate, DistinguishedName, Issuer, NewRequest, OffsetDateTime, Order, PrivateKey, Profile, SignatureAlgorithm,
    Signer, SubjectAltName, SystemSerials,
};

/// A request as OpenSSL writes it: SHA-1 hashes and a nonce.
const OCSP_REQUEST: &str = "3071306f304530433041300906052b0e03021a050004141111111111111111111111111111111111111111\
    041422222222222222222222222222222222222222220208\
    0123456789abcdefa2263024302206092b0601050507300102041504130011223344556677\
    8899aabbccddeeff010203";

/// Texts of every form that is read, and some at its edges.
const TEXTS: [&str; 16] = [
    "IP: 192.0.2.1, DNS: example.com, IP: 2001:db8::1",
    "[2001:db8::1]",
    "gateway.example",
    "door-*",
    "*-?.example.*",
    "192.0.2.0/24, 2001:db8::/32, 198.51.100.7",
    "http://pki.example:8080/path?query",
    "http://[2001:db8::7]:8080",
    "Door openers 2",
    "keyCompromise",
    "key-compromise",
    "0123456789abcdef",
    "0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "# comment\n00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
    "00112233445566778899",
    "\u{e4}\u{301}\u{202e}",
];

/// Writes the seeds below `folder`.
pub(crate) fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let file = |target: &str, name: &str, content: &[u8]| -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(folder.join(target))?;
        Ok(fs::write(folder.join(target).join(format!("seed-{name}")), content)?)
    };
    for (number, text) in TEXTS.iter().enumerate() {
        file("text", &number.to_string(), text.as_bytes())?;
    }
    let (id, secret) = (KeyId::generate(&mut SystemSerials)?, ProvisioningSecret::generate(&mut SystemSerials)?);
    file("text", "id", id.to_string().as_bytes())?;
    file("text", "pair", secret.expose_pair(id).as_bytes())?;
    let ocsp = octets(OCSP_REQUEST)?;
    file("ocsp", "post", &ocsp)?;
    file("ocsp", "get", encode_body(&ocsp).replace('+', "%2B").as_bytes())?;

    let names = SubjectAltName::parse_list("DNS: door-1.example, IP: 192.0.2.1, IP: 2001:db8::1")?;
    let subject = DistinguishedName::new(Some("Example"), "door-1")?;
    let mut certificates = Vec::new();
    for algorithm in SignatureAlgorithm::ALL {
        let name = format!("{algorithm:?}");
        let key = PrivateKey::generate(algorithm)?;
        file("private_key", &name, key.expose_pem()?.as_bytes())?;
        file("private_key", &format!("{name}-der"), key.expose_pkcs8())?;
        let request = NewRequest::client(&subject, &names).sign(&key)?;
        file("csr", &name, &request)?;
        file("est", &name, encode_body(&request).as_bytes())?;
        file("certificate", &format!("{name}-key"), key.public_key().spki_der())?;
        let now = OffsetDateTime::now_utc();
        let root = Issuer::self_signed(Profile::RootCa, &subject, &key, now, &mut SystemSerials)?;
        let order = Order {
            profile: Profile::ClientCertificate,
            subject: &subject,
            public_key: key.public_key(),
            names: &names,
            days: Some(1),
        };
        let client = Issuer::new(&root, &key)?.issue(&order, now, &mut SystemSerials)?;
        for (kind, certificate) in [("root", &root), ("client", &client)] {
            file("certificate", &format!("{name}-{kind}"), certificate.der())?;
            file("csr", &format!("{name}-{kind}"), certificate.der())?;
        }
        file("certificate", &format!("{name}-pem"), client.to_pem()?.as_bytes())?;
        certificates.extend([client, root]);
    }
    let all: Vec<&Certificate> = certificates.iter().collect();
    file("est", "certificates", &certs_only(&all[..2])?)?;
    // RFC 7030 §4.5.2: an EC key on P-256, by an attribute and by an identifier.
    file("est", "attributes-ec", &octets("301b301306072a8648ce3d0201310806062b8104000a06042b0e031a")?)?;
    file("est", "attributes-rsa", &csr_attributes(&[CsrAttribute::RsaKey(2048)])?)?;

    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pki/tests/requests");
    for entry in fs::read_dir(kept)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| name.ends_with(".csr")) {
            file("csr", name, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn octets(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits: Vec<&str> = (0..hex.len()).step_by(2).filter_map(|at| hex.get(at..at + 2)).collect();
    Ok(digits.into_iter().map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>()?)
}
