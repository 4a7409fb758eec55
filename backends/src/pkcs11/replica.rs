//! A keystore on a token as a member of a group.

use super::keystore::{Pkcs11Keystore, mismatch};
use super::message::{KeyName, Request, Response};
use super::transfer::{Carried, Transfer, Transferred, TransportKey, WrappedKey, Wrapping};
use crate::error::{KsError, Result};
use crate::group::{Replica, Under};
use crate::key::{KeyClass, KeyId};
use crate::keystore::{BoxFuture, OpCx};
use crate::local::{self, KeyMaterial, RsaPublic};
use cryptoki_sys as ck;
use keygate_kmip::HashingAlgorithm;

/// Best first. Padded ones take keys of any length; 0x210A is RFC 5649 in some modules and something else in others,
/// which shows when a copy is taken in.
const WRAP_MECHANISMS: [ck::CK_MECHANISM_TYPE; 3] =
    [ck::CKM_AES_KEY_WRAP_KWP, ck::CKM_AES_KEY_WRAP_PAD, ck::CKM_AES_KEY_WRAP];

/// Bits of the self-test's key.
const TEST_BITS: u32 = 2048;

impl Pkcs11Keystore {
    async fn transfer(&self, transfer: Transfer, cx: OpCx) -> Result<Transferred> {
        match self.token.call(Request::Transfer(transfer), cx).await? {
            Response::Transferred(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    async fn wrapping_of(&self, transfer: Transfer, cx: OpCx) -> Result<Option<Wrapping>> {
        match self.transfer(transfer, cx).await? {
            Transferred::Wrapping(wrapping) => Ok(wrapping),
            _ => Err(mismatch()),
        }
    }
}

impl Replica for Pkcs11Keystore {
    fn wrap_mechanisms(&self) -> Vec<u64> {
        let both = ck::CKF_WRAP | ck::CKF_UNWRAP;
        WRAP_MECHANISMS.into_iter().filter(|kind| self.probed_has(*kind, both)).collect()
    }

    fn let_keys_leave(&self, trusted: bool) {
        self.set_leaving(trusted);
    }

    fn wrapping<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<Option<Wrapping>>> {
        Box::pin(self.wrapping_of(Transfer::FindWrapping { label: label.to_owned() }, cx))
    }

    fn make_wrapping<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<Wrapping>> {
        Box::pin(async move {
            let request = Transfer::MakeWrapping { id: id_of(label)?, label: label.to_owned() };
            self.wrapping_of(request, cx).await?.ok_or_else(mismatch)
        })
    }

    fn offer_transport<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<TransportKey>> {
        Box::pin(async move {
            let label = transport_label(label);
            match self.transfer(Transfer::OfferTransport { id: id_of(&label)?, label }, cx).await? {
                Transferred::Transport(key) => Ok(key),
                _ => Err(mismatch()),
            }
        })
    }

    fn carry_out<'a>(
        &'a self,
        label: &'a str,
        to: &'a TransportKey,
        sha256: bool,
        cx: OpCx,
    ) -> BoxFuture<'a, Result<Carried>> {
        Box::pin(async move {
            match self.transfer(Transfer::CarryOut { label: label.to_owned(), to: to.clone(), sha256 }, cx).await? {
                Transferred::Carried(carried) => Ok(carried),
                _ => Err(mismatch()),
            }
        })
    }

    fn carry_in<'a>(&'a self, label: &'a str, carried: &'a Carried, cx: OpCx) -> BoxFuture<'a, Result<Wrapping>> {
        Box::pin(async move {
            let request = Transfer::CarryIn {
                id: id_of(label)?,
                label: label.to_owned(),
                transport: id_of(&transport_label(label))?,
                carried: carried.clone(),
            };
            self.wrapping_of(request, cx).await?.ok_or_else(mismatch)
        })
    }

    fn wrap_out<'a>(&'a self, key: (KeyId, KeyClass), by: &'a Under, cx: OpCx) -> BoxFuture<'a, Result<WrappedKey>> {
        Box::pin(async move {
            let request =
                Transfer::WrapOut { key: name(key), under: by.label.clone(), mechanisms: by.mechanisms.clone() };
            match self.transfer(request, cx).await? {
                Transferred::Wrapped(wrapped) => Ok(wrapped),
                _ => Err(mismatch()),
            }
        })
    }

    fn unwrap_in<'a>(&'a self, id: KeyId, by: &'a Under, wrapped: &'a WrappedKey, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let request = Transfer::UnwrapIn { id, under: by.label.clone(), wrapped: wrapped.clone() };
            self.token.call(Request::Transfer(request), cx).await.map(drop)
        })
    }

    fn is_same<'a>(
        &'a self,
        key: (KeyId, KeyClass),
        by: &'a Under,
        wrapped: &'a WrappedKey,
        cx: OpCx,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let request = Transfer::Compare { key: name(key), under: by.label.clone(), wrapped: wrapped.clone() };
            match self.transfer(request, cx).await? {
                Transferred::Same(same) => Ok(same),
                _ => Err(mismatch()),
            }
        })
    }

    fn make_test_key<'a>(&'a self, id: KeyId, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let request = Request::GenerateRsa { id, label: label.to_owned(), bits: TEST_BITS };
            self.call(request, cx).await.map(drop)
        })
    }

    fn test_key(&self, id: KeyId, cx: OpCx) -> BoxFuture<'_, Result<KeyMaterial>> {
        Box::pin(async move {
            let key = KeyName { id, class: KeyClass::Private };
            let Response::Inspected(found) = self.token.call(Request::Inspect { key }, cx).await? else {
                return Err(mismatch());
            };
            let hidden = || KsError::unsupported("the token does not show the modulus of an RSA private key");
            let (n, e) = found.rsa.ok_or_else(hidden)?;
            RsaPublic { modulus: n, public_exponent: e }.to_material()
        })
    }
}

fn name((id, class): (KeyId, KeyClass)) -> KeyName {
    KeyName { id, class }
}

fn transport_label(label: &str) -> String {
    format!("{label}:transport")
}

/// The CKA_ID of an object that a group makes for itself: the same on every member.
pub(crate) fn id_of(label: &str) -> Result<KeyId> {
    let digest = local::hash(HashingAlgorithm::Sha256, label.as_bytes())?;
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Ok(KeyId(id))
}
