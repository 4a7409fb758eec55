//! The key of an authority in a keystore, as a [`Signer`]. It blocks: call it where blocking is allowed.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_backends::{
    CryptoOp, CryptoOut, Held, Key, KeyId, KeyRef, Keystore, KsError, OpCx, PairSpec, SignInput, SignatureScheme,
};
use keygate_kmip::{HashingAlgorithm, RecommendedCurve};
use keygate_pki::{KeyType, PublicKey, SignatureAlgorithm, Signer, SignerError};

use super::error::ProvisioningError;
use crate::{
    operation::Keystores,
    store::{AuthorityKey, KeystoreId},
};

/// Longest wait for a device.
const DEADLINE: Duration = Duration::from_secs(30);

/// A key that signs in its keystore.
pub(crate) struct KeystoreSigner {
    keystore: Arc<dyn Keystore>,
    key: KeyRef,
    public: PublicKey,
    algorithm: SignatureAlgorithm,
}

impl KeystoreSigner {
    /// `None` while the keystore is not open.
    pub(crate) fn open(
        keystores: Option<&Keystores>,
        id: KeystoreId,
        key: &KeyRef,
        public_key: &str,
    ) -> Result<Option<Self>, ProvisioningError> {
        let damaged = || ProvisioningError::Damaged("key of an authority");
        let der = STANDARD.decode(public_key).map_err(|_| damaged())?;
        let public = PublicKey::from_spki_der(&der)?;
        let algorithm = algorithm_of(public.key_type()).ok_or_else(damaged)?;
        let Some(keystore) = keystores.and_then(|keystores| keystores.get(id).ok()) else { return Ok(None) };
        Ok(Some(Self { keystore, key: key.clone(), public, algorithm }))
    }
}

impl Signer for KeystoreSigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignerError> {
        let failed = |error: &dyn std::fmt::Display| SignerError(format!("the keystore did not sign: {error}"));
        let scheme = scheme(self.algorithm).ok_or_else(|| failed(&"unsupported algorithm"))?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| failed(&error))?;
        let operation = CryptoOp::Sign(scheme, SignInput::Message(tbs));
        let answer = self.keystore.crypto(Key::Reference(&self.key), operation, OpCx::within(DEADLINE));
        match runtime.block_on(answer) {
            Ok(CryptoOut::Signature(signature)) => Ok(signature),
            Ok(_) => Err(failed(&"it answered something else")),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Makes a key pair that stays in the keystore. The caller has recorded `id` before.
pub(crate) async fn generate(
    keystore_id: KeystoreId,
    keystore: &Arc<dyn Keystore>,
    id: KeyId,
    algorithm: SignatureAlgorithm,
) -> Result<(AuthorityKey, PublicKey), ProvisioningError> {
    let failed = |error: KsError| match error.class() {
        keygate_backends::Class::Unsupported => {
            let name = super::algorithm_name(algorithm);
            ProvisioningError::Invalid(format!("this keystore makes no {name} key: {error}"))
        }
        _ => ProvisioningError::KeyAway(error.to_string()),
    };
    let spec = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => PairSpec::Ec { curve: RecommendedCurve::P256 },
        SignatureAlgorithm::EcdsaP384Sha384 => PairSpec::Ec { curve: RecommendedCurve::P384 },
        SignatureAlgorithm::Ed25519 => PairSpec::Ed25519,
        SignatureAlgorithm::RsaPkcs1Sha256 => PairSpec::Rsa { bits: 3072 },
        SignatureAlgorithm::MlDsa65 => {
            return Err(ProvisioningError::Invalid("keystores have no ML-DSA-65: keep this key here".into()));
        }
    };
    let pair = keystore.generate_pair(id, &spec, OpCx::within(DEADLINE)).await.map_err(failed)?;
    let der = pair.public.expose_canonical();
    let public = PublicKey::from_spki_der(der)?;
    let Held::Reference(key) = pair.private else {
        return Err(ProvisioningError::Invalid("this keystore keeps no keys of its own".into()));
    };
    Ok((AuthorityKey::Keystore { keystore: keystore_id, key, public_key: STANDARD.encode(der) }, public))
}

/// Destroys the key; a key that is gone is no fault.
pub(crate) async fn destroy(keystores: Option<&Keystores>, id: KeystoreId, key: &KeyRef) -> Result<(), ProvisioningError> {
    let away = |error: &dyn std::fmt::Display| ProvisioningError::KeyAway(error.to_string());
    let keystores = keystores.ok_or_else(|| away(&"its keystore is not open"))?;
    let keystore = keystores.get(id).map_err(|error| away(&error))?;
    match keystore.destroy(key.id, OpCx::within(DEADLINE)).await {
        Err(error) if error.class() != keygate_backends::Class::NotFound => Err(away(&error)),
        _ => Ok(()),
    }
}

fn scheme(algorithm: SignatureAlgorithm) -> Option<SignatureScheme> {
    Some(match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => SignatureScheme::Ecdsa(HashingAlgorithm::Sha256),
        SignatureAlgorithm::EcdsaP384Sha384 => SignatureScheme::Ecdsa(HashingAlgorithm::Sha384),
        SignatureAlgorithm::Ed25519 => SignatureScheme::Ed25519,
        SignatureAlgorithm::RsaPkcs1Sha256 => SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256),
        SignatureAlgorithm::MlDsa65 => return None,
    })
}

fn algorithm_of(key_type: KeyType) -> Option<SignatureAlgorithm> {
    SignatureAlgorithm::ALL.into_iter().find(|algorithm| algorithm.key_type() == key_type)
}
