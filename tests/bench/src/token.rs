//! The limit of the HSM: ECDSA P-256 signatures by SoftHSM from one thread, through the bare library.

use std::io;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use keygate_tests::softhsm::Token;

/// Signatures a second.
pub(crate) fn signatures(token: &Token, duration: Duration) -> io::Result<f64> {
    // SAFETY: no other thread of this process runs yet that reads the environment: the limit is measured between loads.
    unsafe { std::env::set_var(token.variable, &token.configuration) };
    let pkcs11 = Pkcs11::new(&token.module).map_err(io::Error::other)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(io::Error::other)?;
    let rate = sign(&pkcs11, token, duration);
    drop(pkcs11);
    rate
}

fn sign(pkcs11: &Pkcs11, token: &Token, duration: Duration) -> io::Result<f64> {
    let slots = pkcs11.get_slots_with_token().map_err(io::Error::other)?;
    let labelled =
        |slot: &cryptoki::slot::Slot| pkcs11.get_token_info(*slot).is_ok_and(|info| info.label().trim() == token.label);
    let slot = slots.into_iter().find(labelled).ok_or_else(|| io::Error::other("the token is not there"))?;
    let session = pkcs11.open_rw_session(slot).map_err(io::Error::other)?;
    let pin = AuthPin::new(token.pin()?.into());
    session.login(UserType::User, Some(&pin)).map_err(io::Error::other)?;
    // Object identifier prime256v1.
    let curve = vec![0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
    let public = [Attribute::EcParams(curve), Attribute::Verify(true), Attribute::Token(false)];
    // On the token, like the gateway's keys: the library reads those anew for each signature.
    let private = [Attribute::Sign(true), Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true)];
    let (_, key) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map_err(io::Error::other)?;
    let digest = [0x5A; 32];
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < duration {
        let signature = session.sign(&Mechanism::Ecdsa, key, &digest).map_err(io::Error::other)?;
        if signature.len() != 64 {
            return Err(io::Error::other("a signature is not 64 bytes"));
        }
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    session.destroy_object(key).map_err(io::Error::other)?;
    Ok(rate)
}
