//! GnuTLS: `certtool --verify` over the client's chain, with CRLs.

use std::io;
use std::path::Path;

use super::{Device, RelyingParty, Trust, Verdict, line_with, printed, run, write_files};

/// `certtool --verify`.
#[derive(Clone, Copy, Debug)]
pub struct Certtool;

impl RelyingParty for Certtool {
    fn name(&self) -> &'static str {
        "certtool"
    }

    fn judge(&self, folder: &Path, trust: &Trust, device: &Device) -> io::Result<Verdict> {
        write_files(folder, trust, device)?;
        let arguments = "--verify --load-ca-certificate anchors.pem --load-crl crls.pem --infile chain.pem";
        let output = run("certtool", folder, &arguments.split(' ').collect::<Vec<_>>())?;
        let text = printed(&output);
        if output.status.success() {
            return Ok(Verdict::Accepted);
        }
        // "Chain verification output: Not verified. The certificate is NOT trusted. The certificate chain is revoked."
        if text.contains("Chain verification output: Not verified") {
            return Ok(Verdict::Refused(line_with(&text, &["chain verification output: not verified"])));
        }
        Err(io::Error::other(format!("certtool: {}: {text}", output.status)))
    }
}
