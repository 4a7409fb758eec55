//! The probe key of a test. It is made under an intent like every other key in a device, so it is destroyed also when the test, or
//! the gateway, ends in between.

use std::sync::Arc;
use std::time::Instant;

use keygate_backends::local::PreparedKey;
use keygate_backends::{
    BlockPadding, Capabilities, CryptoOp, CryptoOut, Custody, DecryptOp, Descriptor, EncryptOp, EncryptionScheme, Held,
    Iv, Key, KeyId, KeyRef, KeySpec, Keystore, KsError, OpCx, PairSpec, SignInput, SignatureScheme, local,
};
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm, RecommendedCurve};

use super::{Failure, STEP_WAIT, chain};
use crate::operation::Gateway;
use crate::operation::intent::{NewKey, Place};
use crate::store::{KeystoreId, OrganisationId};

/// What the probe key is used on.
const PROBE: &[u8; 16] = b"keygate selftest";

/// Makes a key, uses it, looks it up and destroys it; what it says is how long the look-up took.
pub(super) async fn probe_key(
    gateway: &Gateway,
    id: KeystoreId,
    keystore: &Arc<dyn Keystore>,
    descriptor: &Descriptor,
) -> Result<(Option<u64>, String), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(chain(error), "see the log of the gateway");
    let key = KeyId::random().map_err(|error| Failure::of(&error))?;
    if descriptor.custody == Custody::Envelope {
        return envelope_probe(keystore, key).await.map(|text| (None, text));
    }
    let place = Place { organisation: OrganisationId::DEFAULT, id, keystore: Arc::clone(keystore) };
    // From here on dropping it destroys the key.
    let made = NewKey::begin(gateway, place, key).await.map_err(|error| failed(&error))?;
    let used = device_probe(keystore, key, descriptor.can).await;
    let gone = made.take_back().await;
    let (find_us, text) = used?;
    gone.map_err(|error| {
        Failure::new(chain(&error), "the probe key is still in the device: it is destroyed as soon as that works")
    })?;
    Ok((Some(find_us), format!("{text}, found in {find_us} us, destroyed")))
}

async fn envelope_probe(keystore: &Arc<dyn Keystore>, key: KeyId) -> Result<String, Failure> {
    let of = |error: KsError| Failure::of(&error);
    let spec = KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 };
    let Held::Material(made) = keystore.generate(key, &spec, OpCx::within(STEP_WAIT)).await.map_err(of)? else {
        return Err(wrong());
    };
    let prepared = PreparedKey::new(&made).map_err(of)?;
    let scheme = EncryptionScheme::Gcm { tag_len: 16 };
    let iv = Iv::Random { len: None };
    let out = local::encrypt(&prepared, &EncryptOp { scheme: &scheme, iv, aad: &[], data: PROBE, legacy: false })
        .map_err(of)?;
    let iv = out.iv.clone().unwrap_or_default();
    let op = DecryptOp { scheme: &scheme, iv: &iv, aad: &[], data: &out.data, tag: out.tag.as_deref() };
    let back = local::decrypt(&prepared, &op).map_err(of)?;
    if back.expose() == PROBE { Ok("AES-256 made, used and forgotten".into()) } else { Err(wrong()) }
}

async fn device_probe(keystore: &Arc<dyn Keystore>, key: KeyId, can: Capabilities) -> Result<(u64, String), Failure> {
    let (reference, text) = if can.generate_ec && can.sign_ecdsa {
        (sign_probe(keystore, key).await?, "P-256 made, signed with and verified")
    } else if can.generate_aes && can.aes_cbc {
        (encrypt_probe(keystore, key).await?, "AES-256 made, encrypted with and back")
    } else {
        let text = "the device makes neither EC keys that sign nor AES keys that encrypt";
        return Err(Failure::new(text, "allow the mechanisms for one of them in the device"));
    };
    let begun = Instant::now();
    keystore.info(&reference, OpCx::within(STEP_WAIT)).await.map_err(|error| Failure::of(&error))?;
    Ok((u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), text.into()))
}

async fn sign_probe(keystore: &Arc<dyn Keystore>, key: KeyId) -> Result<KeyRef, Failure> {
    let of = |error: KsError| Failure::of(&error);
    let cx = || OpCx::within(STEP_WAIT);
    let pair = keystore.generate_pair(key, &PairSpec::Ec { curve: RecommendedCurve::P256 }, cx()).await.map_err(of)?;
    let Held::Reference(reference) = pair.private else { return Err(wrong()) };
    let (scheme, input) = (SignatureScheme::Ecdsa(HashingAlgorithm::Sha256), SignInput::Message(PROBE));
    let signed = keystore.crypto(Key::Reference(&reference), CryptoOp::Sign(scheme, input), cx()).await.map_err(of)?;
    let CryptoOut::Signature(signature) = signed else { return Err(wrong()) };
    let public = PreparedKey::new(&pair.public).map_err(of)?;
    // Reads take turns, so as many as there are members ask each of them.
    for _ in 1..keystore.members().len() {
        let signed = keystore.crypto(Key::Reference(&reference), CryptoOp::Sign(scheme, input), cx()).await.map_err(of)?;
        let CryptoOut::Signature(signature) = signed else { return Err(wrong()) };
        if !local::verify(&public, scheme, input, &signature).map_err(of)? {
            return Err(wrong());
        }
    }
    if local::verify(&public, scheme, input, &signature).map_err(of)? { Ok(reference) } else { Err(wrong()) }
}

async fn encrypt_probe(keystore: &Arc<dyn Keystore>, key: KeyId) -> Result<KeyRef, Failure> {
    let of = |error: KsError| Failure::of(&error);
    let cx = || OpCx::within(STEP_WAIT);
    let spec = KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 };
    let Held::Reference(reference) = keystore.generate(key, &spec, cx()).await.map_err(of)? else {
        return Err(wrong());
    };
    let (scheme, iv) = (EncryptionScheme::Cbc(BlockPadding::None), [7; 16]);
    let op = EncryptOp { scheme: &scheme, iv: Iv::Given(&iv), aad: &[], data: PROBE, legacy: false };
    let out = keystore.crypto(Key::Reference(&reference), CryptoOp::Encrypt(op), cx()).await.map_err(of)?;
    let CryptoOut::Encrypted(out) = out else { return Err(wrong()) };
    let op = DecryptOp { scheme: &scheme, iv: &iv, aad: &[], data: &out.data, tag: None };
    let back = keystore.crypto(Key::Reference(&reference), CryptoOp::Decrypt(op), cx()).await.map_err(of)?;
    match back {
        CryptoOut::Decrypted(back) if back.expose() == PROBE => Ok(reference),
        _ => Err(wrong()),
    }
}

fn wrong() -> Failure {
    Failure::new("the device gave a wrong result", "do not use it: its results cannot be relied on")
}
