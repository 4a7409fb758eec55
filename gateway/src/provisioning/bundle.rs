//! What relying parties load as files: trust bundle, authorities, and all lists of an organisation in one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{Certificate, OffsetDateTime};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use super::{
    ProvisioningError,
    authority::{LoadedAuthority, path_name},
    publish::{CRL_LIFE, File},
    snapshot::Snapshot,
};
use crate::store::{EntryId, OrganisationId, StoredTier};

/// Files of one organisation.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The issuing CAs whose clients are good at the moment, PEM: trust anchors for parties that check no CRL.
    pub trust_pem: File,
    /// The same as JSON.
    pub trust_json: File,
    /// Root, organisation issuers and issuing CAs, revoked ones too, PEM: for parties that check CRLs.
    pub authorities_pem: File,
    /// What [`Bundle::lists_pem`] is made of.
    lists: Arc<[Arc<File>]>,
    lists_pem: OnceLock<File>,
}

impl Bundle {
    /// All CRLs that such parties need, PEM, without the shards: the whole list of an authority covers them. Made when somebody
    /// asks for it first: with many revoked certificates it is long.
    pub fn lists_pem(&self) -> &File {
        self.lists_pem.get_or_init(|| {
            let text: String = self.lists.iter().map(|list| pem("X509 CRL", &list.body)).collect();
            let newest = self.lists.iter().map(|list| list.made).max().unwrap_or(OffsetDateTime::UNIX_EPOCH);
            File::new(text.into_bytes(), newest, newest + CRL_LIFE)
        })
    }
}

#[derive(Serialize)]
struct TrustJson<'a> {
    organisation: &'a str,
    certificates: Vec<TrustedJson>,
}

#[derive(Serialize)]
struct TrustedJson {
    authority: String,
    provisioning_key: Option<String>,
    subject: String,
    not_after: String,
    sha256: String,
    pem: String,
}

/// The files of all organisations.
pub(super) fn all(
    snapshot: &Snapshot,
    lists: &HashMap<(EntryId, Option<u32>), Arc<File>>,
    now: OffsetDateTime,
) -> Result<BTreeMap<String, Bundle>, ProvisioningError> {
    let one = |(id, name): (&OrganisationId, &String)| Ok((name.clone(), bundle(snapshot, lists, *id, name, now)?));
    snapshot.organisations.iter().map(one).collect()
}

fn bundle(
    snapshot: &Snapshot,
    lists: &HashMap<(EntryId, Option<u32>), Arc<File>>,
    organisation: OrganisationId,
    name: &str,
    now: OffsetDateTime,
) -> Result<Bundle, ProvisioningError> {
    let mine: Vec<&Arc<LoadedAuthority>> = snapshot
        .authorities
        .values()
        .filter(|authority| authority.row.tier == StoredTier::Root || authority.row.organisation == organisation)
        .collect();
    let file = |text: String| File::new(text.into_bytes(), now, now + CRL_LIFE);
    let (mut trust, mut trusted) = (String::new(), Vec::new());
    for authority in mine.iter().filter(|authority| is_trusted(snapshot, authority, now)) {
        let certificate = authority.newest()?;
        let pem = certificate.to_pem()?;
        trust.push_str(&pem);
        trusted.push(TrustedJson {
            authority: path_name(authority.row.id),
            provisioning_key: authority
                .row
                .provisioning_key
                .and_then(|key| snapshot.keys.get(&key))
                .map(|key| key.public_id.to_string()),
            subject: certificate.subject(),
            not_after: certificate.not_after().format(&Rfc3339).unwrap_or_default(),
            sha256: hex::encode(certificate.fingerprint().0),
            pem,
        });
    }
    let json = serde_json::to_string_pretty(&TrustJson { organisation: name, certificates: trusted });
    let json = json.map_err(|_| ProvisioningError::Damaged("trust bundle"))?;
    let (mut authorities, mut whole) = (String::new(), Vec::new());
    // Self-signed roots first: OpenSSL takes the first that fits, and would run in circles between cross-certificates of roots.
    let signs_itself = |authority: &LoadedAuthority, issuer: Option<EntryId>| issuer == Some(authority.row.id);
    for first in [true, false] {
        for authority in &mine {
            let held = authority.certificates.iter().filter(|held| is_of_use(&held.certificate, now));
            for held in held.filter(|held| signs_itself(authority, held.issuer) == first) {
                authorities.push_str(&held.certificate.to_pem()?);
            }
        }
    }
    for authority in &mine {
        whole.extend(lists.get(&(authority.row.id, None)).cloned());
    }
    Ok(Bundle {
        trust_pem: file(trust),
        trust_json: file(json),
        authorities_pem: file(authorities),
        lists: whole.into(),
        lists_pem: OnceLock::new(),
    })
}

fn is_of_use(certificate: &Certificate, now: OffsetDateTime) -> bool {
    now <= certificate.not_after()
}

/// Whether clients of this authority are good at the moment, all other things being equal.
fn is_trusted(snapshot: &Snapshot, authority: &LoadedAuthority, now: OffsetDateTime) -> bool {
    let row = &authority.row;
    let key = row.provisioning_key.and_then(|key| snapshot.keys.get(&key));
    let is_good = key.is_some_and(|key| key.effective.is_trusted()) && row.revoked.is_none();
    is_good && authority.generation.is_published() && authority.newest().is_ok_and(|newest| is_of_use(newest, now))
}

/// RFC 7468: lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    let mut line = |parts: &[&str]| {
        parts.iter().for_each(|part| pem.push_str(part));
        pem.push('\n');
    };
    line(&["-----BEGIN ", label, "-----"]);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: any place is between characters.
        let (head, tail) = rest.split_at(rest.len().min(64));
        line(&[head]);
        rest = tail;
    }
    line(&["-----END ", label, "-----"]);
    pem
}
