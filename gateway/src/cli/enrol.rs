//! `keygate enrol`: arguments -> an [`Enrolment`], what was done -> text or JSON.

use std::{path::Path, time::Duration};

use keygate_pki::{Certificate, DistinguishedName, Fingerprint, OffsetDateTime, SignatureAlgorithm, SubjectAltName};
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{
    Failure,
    args::{Enrol, KeyTypeArgument},
    code,
};
use crate::{
    admin::chain,
    app::SecretInput,
    enrol::{Done, EnrolError, Enrolment, EstClientError, Event, Folder, FolderError, ProvisioningKey, SystemClock, Trust, due_at},
    http_client::{HttpClientError, Route, ServerUrl},
};

/// Holds the provisioning key where no file is named.
const KEY_VARIABLE: &str = "KEYGATE_PROVISIONING_KEY";
/// Largest `--ca` file.
const CA_BYTES_MAX: u64 = 256 * 1024;

pub(super) fn run(arguments: &Enrol) -> Result<(), Failure> {
    let mut enrolment = enrolment(arguments)?;
    if arguments.daemon {
        let failure = enrolment.stay(&SystemClock, &mut |event| match event {
            Event::Done(done) => print(done, &arguments.out, arguments.json),
            Event::Failed(error, wait) => eprintln!("warning: {}; trying again in {} s", chain(error), wait.as_secs()),
        });
        return Err(failure.into());
    }
    let done = enrolment.run(&SystemClock)?;
    if matches!(done, Done::NotDue(_)) {
        enrolment.check()?;
    }
    print(&done, &arguments.out, arguments.json);
    Ok(())
}

fn enrolment(arguments: &Enrol) -> Result<Enrolment, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(code::USAGE, error.to_string());
    let server: ServerUrl = arguments.server.parse().map_err(|error: HttpClientError| usage(&error))?;
    let route = match &arguments.proxy {
        Some(proxy) => Route::through(proxy),
        None => Route::from_environment(),
    };
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = |name: &str| DistinguishedName::new(None, name).map_err(|error| usage(&error));
    let names = |names: &String| SubjectAltName::parse_list(names).map_err(|error| usage(&error));
    Ok(Enrolment {
        server,
        route: route.map_err(|error| usage(&error))?,
        trust: trust(arguments)?,
        name: arguments.name.as_deref().map(name).transpose()?,
        names: arguments.names.as_ref().map(names).transpose()?,
        host: name(&host())?,
        key_type: arguments.key_type.map(KeyTypeArgument::algorithm),
        keep_key: arguments.keep_key,
        force: arguments.force,
        provisioning_key: provisioning_key(arguments)?,
        wait: Duration::from_secs(arguments.wait),
        folder: Folder::open(&arguments.out)?,
    })
}

fn trust(arguments: &Enrol) -> Result<Trust, Failure> {
    if let Some(path) = &arguments.ca {
        return certificates(path).map(Trust::These);
    }
    let Some(text) = &arguments.ca_sha256 else { return Ok(Trust::Unstated) };
    let mut octets = [0; 32];
    // As OpenSSL prints it, with colons, and without.
    let digits: String = text.chars().filter(|letter| *letter != ':').collect();
    hex::decode_to_slice(digits, &mut octets)
        .map_err(|_| Failure::new(code::USAGE, "--ca-sha256 takes the SHA-256 of the root certificate: 64 hexadecimal digits"))?;
    Ok(Trust::Fingerprint(Fingerprint(octets)))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(code::USAGE, format!("{}: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if length > CA_BYTES_MAX {
        return Err(failed(&format!("it has {length} octets, at most {CA_BYTES_MAX} are read")));
    }
    let octets = std::fs::read(path).map_err(|error| failed(&error))?;
    crate::enrol::certificates(&octets).map_err(|error| failed(&chain(&error)))
}

fn provisioning_key(arguments: &Enrol) -> Result<Option<ProvisioningKey>, Failure> {
    let input = match (&arguments.key_file, arguments.key_stdin) {
        (Some(path), _) => Some(SecretInput::File(path.clone())),
        (None, true) => Some(SecretInput::Descriptor(0)),
        (None, false) => None,
    };
    let wrong = |error| Failure::new(code::USAGE, format!("the provisioning key is {error}"));
    match input {
        Some(input) => ProvisioningKey::new(input.read()?.expose()).map(Some).map_err(wrong),
        None => match std::env::var(KEY_VARIABLE).map(Zeroizing::new) {
            Ok(text) if !text.trim().is_empty() => ProvisioningKey::new(text.as_bytes()).map(Some).map_err(wrong),
            _ => Ok(None),
        },
    }
}

impl KeyTypeArgument {
    fn algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
            Self::P256 => SignatureAlgorithm::EcdsaP256Sha256,
            Self::P384 => SignatureAlgorithm::EcdsaP384Sha384,
            Self::Rsa3072 => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }
}

fn print(done: &Done, folder: &Path, json: bool) {
    let (word, text) = match done {
        Done::Enrolled(_) => ("enrolled", "enrolled"),
        Done::NotDue(_) => ("not-due", "nothing is due"),
        Done::Renewed(_) => ("renewed", "renewed"),
    };
    let certificate = done.certificate();
    let moment = |moment: OffsetDateTime| moment.format(&Rfc3339).unwrap_or_else(|_| moment.to_string());
    let until = moment(certificate.not_after());
    let due = moment(due_at(certificate).replace_nanosecond(0).unwrap_or_else(|_| due_at(certificate)));
    let folder = folder.display().to_string();
    if json {
        let serial = hex::encode(certificate.serial());
        let value = serde_json::json!({ "result": word, "folder": folder, "serial": serial, "not_after": until, "renew_at": due });
        return println!("{value}");
    }
    println!("{text}: {}, certificate until {until}, renewed from {due} on", certificate.subject());
    println!("credential in {folder}");
}

impl From<EnrolError> for Failure {
    fn from(error: EnrolError) -> Self {
        let code = match &error {
            EnrolError::Est(EstClientError::Refused { .. }) => code::REFUSED,
            EnrolError::Est(EstClientError::Http(error)) if error.is_refused() => code::REFUSED,
            error if error.is_transient() => code::LATER,
            EnrolError::Folder(FolderError::InUse(_)) => code::IN_USE,
            EnrolError::NoKey(_) => code::USAGE,
            EnrolError::Revoked(_) => code::REVOKED,
            _ => code::FAILED,
        };
        Self::new(code, chain(&error))
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        EnrolError::from(error).into()
    }
}
