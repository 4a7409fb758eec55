//! OpenSSL: `openssl verify`, which is also what Apache, PostgreSQL, curl and most others do underneath.

use std::io;
use std::path::Path;

use super::{Device, RelyingParty, Trust, Verdict, line_with, printed, run, write_files};

/// `openssl verify` with one of its two ways to look at CRLs.
#[derive(Clone, Copy, Debug)]
pub struct Verify {
    flag: &'static str,
}

impl Verify {
    /// `-crl_check_all`: every certificate of the chain must be covered by a CRL and on none. What parties must configure.
    #[must_use]
    pub fn whole_chain() -> Self {
        Self { flag: "-crl_check_all" }
    }

    /// `-crl_check`: only the client's own certificate is looked up. Blind to a revoked issuer.
    #[must_use]
    pub fn leaf_only() -> Self {
        Self { flag: "-crl_check" }
    }
}

impl RelyingParty for Verify {
    fn name(&self) -> &'static str {
        "openssl"
    }

    fn judge(&self, folder: &Path, trust: &Trust, device: &Device) -> io::Result<Verdict> {
        write_files(folder, trust, device)?;
        let mut arguments =
            vec!["verify", self.flag, "-x509_strict", "-purpose", "sslclient", "-CAfile", "anchors.pem"];
        arguments.extend(["-untrusted", "issuers.pem", "-CRLfile", "crls.pem", "leaf.pem"]);
        let output = run("openssl", folder, &arguments)?;
        let text = printed(&output);
        match output.status.code() {
            Some(0) => Ok(Verdict::Accepted),
            // "error 23 at 1 depth lookup: certificate revoked". Without such a line it did not come to verify.
            Some(2) if text.contains("depth lookup") => Ok(Verdict::Refused(line_with(&text, &["depth lookup"]))),
            _ => Err(io::Error::other(format!("openssl verify: {}: {text}", output.status))),
        }
    }
}
