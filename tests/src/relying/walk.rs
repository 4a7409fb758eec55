//! The walk through the states of a provisioning key, with what every relying party must answer in each.
//!
//! What was measured with these programs is the expectation: parties that check the whole chain follow every state; one that
//! checks only the client's own certificate sees single revocations and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::addresses::{Numbers, addresses, crls_of_chain, fetch};
use super::ocsp::{self, Status};
use super::openssl::Verify;
use super::source::{Act, StateSource};
use super::{Device, RelyingParty, Trust, parties};
use crate::{pem, tools};

/// Walks through every state.
///
/// # Errors
/// The first party that answers otherwise than it must, with the state, its words, or why it could not be asked.
pub fn walk(source: &mut dyn StateSource, folder: &Path) -> io::Result<()> {
    let mut walker = Walker { folder: folder.to_owned(), parties: parties(), numbers: Numbers::default(), asked: 0 };
    let (first, second) = (source.enrol("first")?, source.enrol("second")?);
    walker.state("active", source, &[(&first, In), (&second, In)])?;
    source.apply(Act::Suspend)?;
    walker.state("suspended", source, &[(&first, In)])?;
    source.apply(Act::Reactivate)?;
    walker.state("active again", source, &[(&first, In)])?;
    source.apply(Act::Disable)?;
    walker.state("service disabled", source, &[(&first, OnHold), (&second, OnHold)])?;
    source.apply(Act::Enable)?;
    walker.state("service enabled again", source, &[(&first, In)])?;
    source.apply(Act::RevokeDevice(&second))?;
    walker.state("one client revoked", source, &[(&first, In), (&second, Out)])?;
    source.apply(Act::RenewIssuer)?;
    let third = source.enrol("third")?;
    if first.issuer()? == third.issuer()? {
        return Err(io::Error::other("the issuer was renewed, and new clients still show its old certificate"));
    }
    walker.state("issuer renewed", source, &[(&first, In), (&second, Out), (&third, In)])?;
    source.apply(Act::RevokeKey)?;
    walker.state("key revoked", source, &[(&first, KeyOut), (&second, Out), (&third, KeyOut)])
}

/// What a device must meet with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Let in by everyone.
    In,
    /// Its key is revoked: refused by who checks the chain.
    KeyOut,
    /// The service is disabled: refused by who checks the chain, for now.
    OnHold,
    /// Its certificate is revoked: refused by everyone.
    Out,
}
use Expected::{In, KeyOut, OnHold, Out};

struct Walker {
    folder: PathBuf,
    parties: Vec<Box<dyn RelyingParty>>,
    numbers: Numbers,
    asked: usize,
}

impl Walker {
    /// Asks everyone about every device.
    fn state(&mut self, state: &str, source: &dyn StateSource, devices: &[(&Device, Expected)]) -> io::Result<()> {
        let trust = source.trust()?;
        self.numbers.note(&trust.crls)?;
        for (number, (device, expected)) in devices.iter().enumerate() {
            let what = format!("{state}, device {}", number + 1);
            self.whole_chain(&what, &trust, device, *expected)?;
            self.by_addresses(&what, &trust, device, *expected)?;
            self.leaf_only(&what, &trust, device, *expected)?;
            self.ocsp(&what, &trust, device, *expected)?;
        }
        Ok(())
    }

    fn whole_chain(&mut self, what: &str, trust: &Trust, device: &Device, expected: Expected) -> io::Result<()> {
        for index in 0..self.parties.len() {
            let folder = self.next_folder()?;
            let party = &self.parties[index];
            let verdict = party.judge(&folder, trust, device)?;
            let right = if expected == In { verdict.accepted() } else { verdict.says_revoked() };
            if !right {
                return Err(wrong(what, party.name(), &verdict, &expected));
            }
        }
        Ok(())
    }

    /// A party that has the anchors and nothing else, and follows the addresses in the certificates: each names the list of
    /// its issuer, so that the root's own list is at the address in the organisation issuer's certificate.
    fn by_addresses(&mut self, what: &str, trust: &Trust, device: &Device, expected: Expected) -> io::Result<()> {
        let folder = self.next_folder()?;
        let fetched = crls_of_chain(&folder, &device.chain)?;
        self.numbers.note(&fetched)?;
        let verdict =
            Verify::whole_chain().judge(&folder, &Trust { anchors: trust.anchors.clone(), crls: fetched }, device)?;
        let right = if expected == In { verdict.accepted() } else { verdict.says_revoked() };
        if !right {
            return Err(wrong(what, "openssl, CRLs by their addresses", &verdict, &expected));
        }
        let issuer = addresses(&device.leaf()?)?.issuer.ok_or_else(|| io::Error::other("no issuer's address"))?;
        // Any certificate of the issuing key will do: the name is what a renewed one keeps.
        let served = pem::encode(pem::CERTIFICATE, &fetch(&folder, &issuer)?);
        let alone = Device { chain: pem::encode(pem::CERTIFICATE, &device.leaf()?) + &served, key: String::new() };
        let above: Vec<_> = pem::certificates(&device.chain)?.into_iter().skip(2).collect();
        let above: String = above.iter().map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
        let rebuilt = Device { chain: alone.chain + &above, ..alone };
        let verdict = Verify::whole_chain().judge(&folder, trust, &rebuilt)?;
        if verdict.accepted() != (expected == In) {
            return Err(wrong(what, "openssl, issuer by its address", &verdict, &expected));
        }
        Ok(())
    }

    /// What a party sees that looks up nothing but the client's own certificate: not the state of the key.
    fn leaf_only(&mut self, what: &str, trust: &Trust, device: &Device, expected: Expected) -> io::Result<()> {
        let folder = self.next_folder()?;
        let verdict = Verify::leaf_only().judge(&folder, trust, device)?;
        // A revoked key's last lists may name its certificates one by one; then these parties follow too.
        let right = match expected {
            In | OnHold => verdict.accepted(),
            KeyOut => verdict.accepted() || verdict.says_revoked(),
            Out => verdict.says_revoked(),
        };
        if right { Ok(()) } else { Err(wrong(what, "openssl -crl_check", &verdict, &expected)) }
    }

    fn ocsp(&mut self, what: &str, trust: &Trust, device: &Device, expected: Expected) -> io::Result<()> {
        let right = |status: &Status, reason: &str| match (expected, status) {
            (In, Status::Good) => true,
            (OnHold, Status::Revoked(why)) => why == reason,
            (KeyOut | Out, Status::Revoked(_)) => true,
            _ => false,
        };
        let folder = self.next_folder()?;
        for (name, ask) in
            [("openssl ocsp", ocsp::openssl as fn(&Path, &Trust, &Device) -> _), ("OCSP by GET", ocsp::get)]
        {
            let status: Status =
                ask(&folder, trust, device).map_err(|error| io::Error::other(format!("{what}: {error}")))?;
            if !right(&status, "certificateHold") {
                return Err(wrong(what, name, &status, &expected));
            }
        }
        if !tools::skipped("ocsptool") {
            let status =
                ocsp::ocsptool(&folder, trust, device).map_err(|error| io::Error::other(format!("{what}: {error}")))?;
            if !right(&status, "") {
                return Err(wrong(what, "ocsptool", &status, &expected));
            }
        }
        Ok(())
    }

    fn next_folder(&mut self) -> io::Result<PathBuf> {
        self.asked += 1;
        let folder = self.folder.join(format!("ask-{}", self.asked));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

fn wrong(what: &str, party: &str, answered: &dyn std::fmt::Debug, expected: &Expected) -> io::Error {
    io::Error::other(format!("{what}: {party} answered {answered:?}, expected {expected:?}"))
}
