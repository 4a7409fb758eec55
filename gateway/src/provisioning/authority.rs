//! An authority as it is used: certificates parsed, and a signer over its key wherever that is.

use std::sync::{Arc, PoisonError, RwLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{
    CertId, Certificate, Issuer, IssuerIds, Locations, OffsetDateTime, PrivateKey, Reason, SignatureAlgorithm, Signer, Tier,
    rotation::{Active, Generation, Initialised, Published, Retired},
};
use zeroize::Zeroizing;

use super::{error::ProvisioningError, keystore_signer::KeystoreSigner, snapshot::{moment, when_and_why}};
use crate::{
    operation::Keystores,
    seal::SecretText,
    store::{Authority, AuthorityKey, Blob, EntryId, StoredGeneration, StoredTier, Versioned},
};

/// Where keys of authorities are found.
pub(crate) struct Keys<'a> {
    /// The keystores, once they are open.
    pub(crate) keystores: Option<&'a Keystores>,
}

/// A certificate of an authority, and who signed it.
pub(crate) struct HeldCertificate {
    pub(crate) certificate: Certificate,
    pub(crate) issuer: Option<EntryId>,
}

/// What signs for an authority.
pub(crate) enum AuthoritySigner {
    /// A key in this process: signing takes microseconds.
    Local(Arc<PrivateKey>),
    /// A key in a keystore: signing blocks.
    Keystore(Arc<KeystoreSigner>),
    /// Its keystore is not open.
    Away,
    /// Elsewhere, or destroyed.
    None,
}

/// An authority, ready to sign.
pub struct LoadedAuthority {
    pub(crate) row: Versioned<Authority>,
    pub(crate) certificates: Vec<HeldCertificate>,
    pub(crate) generation: Generation,
    pub(crate) signer: AuthoritySigner,
    ids: Option<IssuerIds>,
    /// What its newest clients' certificates say, made once for each shard.
    client_locations: RwLock<Option<(u32, Arc<Locations>)>>,
}

impl LoadedAuthority {
    pub(crate) fn load(row: &Versioned<Authority>, keys: &Keys<'_>) -> Result<Self, ProvisioningError> {
        let parse = |held: &crate::store::AuthorityCertificate| {
            let certificate = Certificate::from_der(&held.der.0)?;
            Ok(HeldCertificate { certificate, issuer: held.issuer })
        };
        let certificates = row.certificates.iter().map(parse).collect::<Result<Vec<_>, ProvisioningError>>()?;
        let generation = generation(row.stage).ok_or(ProvisioningError::Damaged("authority"))?;
        let signer = match &row.key {
            AuthorityKey::Local(key) => AuthoritySigner::Local(Arc::new(local_key(key)?)),
            AuthorityKey::Keystore { keystore, key, public_key } => {
                match KeystoreSigner::open(keys.keystores, *keystore, key, public_key)? {
                    Some(signer) => AuthoritySigner::Keystore(Arc::new(signer)),
                    None => AuthoritySigner::Away,
                }
            }
            AuthorityKey::Outside | AuthorityKey::Destroyed => AuthoritySigner::None,
        };
        let ids = certificates.last().map(|held| IssuerIds::of(&held.certificate)).transpose()?;
        Ok(Self { row: row.clone(), certificates, generation, signer, ids, client_locations: RwLock::default() })
    }

    /// Whether an OCSP request is about a certificate of this authority.
    pub(crate) fn is_named_by(&self, id: &CertId) -> bool {
        self.ids.as_ref().is_some_and(|ids| id.is_of(ids))
    }

    /// When and why this generation itself was revoked, whatever its provisioning key is: all it signed goes with it.
    pub(crate) fn own_revocation(&self) -> Option<(OffsetDateTime, Reason)> {
        self.row.revoked.map(when_and_why)
    }

    /// Whether its keystore was not open when it was loaded.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.signer, AuthoritySigner::Away)
    }

    /// Its signer.
    pub(crate) fn signer(&self) -> Result<&dyn Signer, ProvisioningError> {
        match &self.signer {
            AuthoritySigner::Local(key) => Ok(key.as_ref()),
            AuthoritySigner::Keystore(signer) => Ok(signer.as_ref()),
            AuthoritySigner::Away => Err(ProvisioningError::KeyAway("its keystore is not open".into())),
            AuthoritySigner::None => Err(ProvisioningError::State("the authority's key is not here".into())),
        }
    }

    /// Whether it can sign at all.
    pub(crate) fn has_key(&self) -> bool {
        !matches!(self.signer, AuthoritySigner::None)
    }

    /// The newest certificate.
    pub(crate) fn newest(&self) -> Result<&Certificate, ProvisioningError> {
        let newest = self.certificates.last().map(|held| &held.certificate);
        newest.ok_or(ProvisioningError::State("the authority has no certificate yet".into()))
    }

    /// The newest certificate signed by `issuer`; the newest of all where there is none.
    pub(crate) fn certificate_under(&self, issuer: Option<EntryId>) -> Option<&Certificate> {
        let under = self.certificates.iter().rfind(|held| held.issuer == issuer);
        under.or(self.certificates.last()).map(|held| &held.certificate)
    }

    /// The addresses in a client's certificate of `shard`: `make` says them when the shard is a new one.
    pub(crate) fn client_locations(
        &self,
        shard: u32,
        make: impl FnOnce() -> Result<Locations, ProvisioningError>,
    ) -> Result<Arc<Locations>, ProvisioningError> {
        let held = self.client_locations.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, locations)) = held.filter(|(of, _)| *of == shard) {
            return Ok(locations);
        }
        let made = Arc::new(make()?);
        *self.client_locations.write().unwrap_or_else(PoisonError::into_inner) = Some((shard, made.clone()));
        Ok(made)
    }

    /// Certificate and key together, under its newest certificate.
    pub(crate) fn issuer(&self) -> Result<Issuer<'_>, ProvisioningError> {
        Ok(Issuer::new(self.newest()?, self.signer()?)?)
    }

    /// The end of its last certificate.
    pub(crate) fn not_after(&self) -> Option<OffsetDateTime> {
        self.certificates.iter().map(|held| held.certificate.not_after()).max()
    }

    /// The name in the addresses of its lists and certificate.
    pub(crate) fn path_name(&self) -> String {
        path_name(self.row.id)
    }
}

pub(crate) fn path_name(id: EntryId) -> String {
    id.0.simple().to_string()
}

pub(crate) fn tier(stored: StoredTier) -> Tier {
    match stored {
        StoredTier::Root => Tier::Root,
        StoredTier::Organisation => Tier::Organisation,
        StoredTier::Key => Tier::Key,
    }
}

fn generation(stored: StoredGeneration) -> Option<Generation> {
    Some(match stored {
        StoredGeneration::Initialised => Generation::Initialised(Initialised),
        StoredGeneration::Published { since } => Generation::Published(Published { since: moment(since)? }),
        StoredGeneration::Active { since } => Generation::Active(Active { since: moment(since)? }),
        StoredGeneration::Retired { since, until } => {
            Generation::Retired(Retired { since: moment(since)?, until: moment(until)? })
        }
    })
}

pub(crate) fn stored_generation(generation: Generation) -> StoredGeneration {
    match generation {
        Generation::Initialised(Initialised) => StoredGeneration::Initialised,
        Generation::Published(Published { since }) => StoredGeneration::Published { since: since.unix_timestamp() },
        Generation::Active(Active { since }) => StoredGeneration::Active { since: since.unix_timestamp() },
        Generation::Retired(Retired { since, until }) => {
            StoredGeneration::Retired { since: since.unix_timestamp(), until: until.unix_timestamp() }
        }
    }
}

/// The text form that [`local_key`] reads.
pub(crate) fn stored_key(key: &PrivateKey) -> Result<SecretText, ProvisioningError> {
    let text = Zeroizing::new(STANDARD.encode(key.expose_pkcs8()));
    SecretText::new(&text).map_err(ProvisioningError::Memory)
}

pub(crate) fn local_key(stored: &SecretText) -> Result<PrivateKey, ProvisioningError> {
    let text = stored.expose();
    let pkcs8 = STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
    Ok(PrivateKey::from_pkcs8(&pkcs8.map_err(|_| ProvisioningError::Damaged("key of an authority"))?)?)
}

pub(crate) fn blob(certificate: &Certificate) -> Blob {
    Blob::from(certificate.der())
}

/// Names of signature algorithms, as administrators write them and rows keep them.
pub const ALGORITHMS: [(&str, SignatureAlgorithm); 5] = [
    ("p256", SignatureAlgorithm::EcdsaP256Sha256),
    ("p384", SignatureAlgorithm::EcdsaP384Sha384),
    ("rsa-3072", SignatureAlgorithm::RsaPkcs1Sha256),
    ("ed25519", SignatureAlgorithm::Ed25519),
    ("ml-dsa-65", SignatureAlgorithm::MlDsa65),
];

/// An algorithm by its name.
pub fn algorithm(name: &str) -> Result<SignatureAlgorithm, ProvisioningError> {
    let found = ALGORITHMS.iter().find(|(known, _)| *known == name);
    let names = || ALGORITHMS.map(|(name, _)| name).join(", ");
    found
        .map(|(_, algorithm)| *algorithm)
        .ok_or_else(|| ProvisioningError::Invalid(format!("\"{name}\" is no algorithm of an issuer: {}", names())))
}

/// The name of an algorithm.
pub fn algorithm_name(algorithm: SignatureAlgorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}
