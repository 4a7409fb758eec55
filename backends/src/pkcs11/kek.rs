//! A wrapping key on a token, for the seal.
//!
//! AES-GCM with the caller's AAD where the token has it; else AES key wrap (RFC 3394) over SHA-256 of the AAD and the
//! text, since key wrap has no AAD. A wrapped value is `version | mechanism | nonce (GCM) | cipher text (and tag)`. The
//! nonce is drawn at random for each wrapping: a seal wraps a few times in its life, far below the 2^32 of NIST SP
//! 800-38D §8.3.

use super::message::{CipherMechanism, KeyName, Request, Response, SecretKind};
use super::token::Token;
use crate::error::{Class, KsError, Result};
use crate::key::{KeyClass, KeyId};
use crate::keystore::{BoxFuture, Health, KekDescriptor, KekProvider, OpCx};
use crate::local;
use crate::secret::SecretBytes;
use keygate_kmip::HashingAlgorithm;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// A wrapping key on a token.
pub struct Pkcs11Kek {
    token: Arc<Token>,
    id: KeyId,
}

const VERSION: u8 = 1;
const GCM: u8 = 1;
const KEY_WRAP: u8 = 2;
const NONCE: usize = 12;
const TAG: usize = 16;
const BINDING: usize = 32;
const PLAIN_MAX: usize = 4096;

impl Pkcs11Kek {
    /// Makes an AES-256 key that encrypts and decrypts and nothing else, non-extractable, labelled `keygate:seal:ID`. The caller keeps the id.
    pub fn create(token: &Arc<Token>, id: KeyId, cx: OpCx) -> Result<Self> {
        let request =
            Request::GenerateSecret { id, label: format!("keygate:seal:{id}"), kind: SecretKind::Kek, octets: 32 };
        token.call_blocking(request, cx)?;
        Ok(Self { token: Arc::clone(token), id })
    }

    /// A key made before. Whether it is there shows at the first use.
    pub fn existing(token: &Arc<Token>, id: KeyId) -> Self {
        Self { token: Arc::clone(token), id }
    }

    /// Destroys the key: nothing wrapped under it opens any more.
    pub fn destroy_blocking(&self, cx: OpCx) -> Result<()> {
        self.token.call_blocking(Request::Destroy { id: self.id }, cx).map(drop)
    }

    /// The key's id on the token.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// [`KekProvider::wrap`] for callers without a runtime: the seal is opened before there is one.
    pub fn wrap_blocking(&self, plain: &SecretBytes, aad: &[u8], cx: OpCx) -> Result<Vec<u8>> {
        let nonce = local::random(NONCE)?.into_exposed();
        match self.token.call_blocking(self.wrap_gcm(plain, &nonce, aad)?, cx) {
            Ok(response) => gcm_blob(&nonce, response),
            Err(e) if e.class() == Class::Unsupported => {
                key_wrap_blob(self.token.call_blocking(self.wrap_kw(plain, aad)?, cx)?)
            }
            Err(e) => Err(e),
        }
    }

    /// [`KekProvider::unwrap`] for callers without a runtime.
    pub fn unwrap_blocking(&self, wrapped: &[u8], aad: &[u8], cx: OpCx) -> Result<SecretBytes> {
        let (request, mechanism) = self.unwrap_request(wrapped, aad)?;
        finish_unwrap(self.token.call_blocking(request, cx)?, mechanism, aad)
    }

    fn key(&self) -> KeyName {
        KeyName { id: self.id, class: KeyClass::Secret }
    }

    fn wrap_gcm(&self, plain: &SecretBytes, nonce: &[u8], aad: &[u8]) -> Result<Request> {
        if plain.len() > PLAIN_MAX {
            return Err(KsError::data(format!("{} octets to wrap are more than {PLAIN_MAX}", plain.len())));
        }
        let mechanism = CipherMechanism::AesGcm { iv: nonce.to_vec(), aad: aad.to_vec(), tag_len: TAG };
        Ok(Request::Encrypt { key: self.key(), mechanism, data: plain.clone() })
    }

    fn wrap_kw(&self, plain: &SecretBytes, aad: &[u8]) -> Result<Request> {
        if !plain.len().is_multiple_of(8) {
            return Err(KsError::unsupported("the token has key wrap alone, which takes multiples of 8 octets"));
        }
        let mut data = Vec::with_capacity(BINDING + plain.len());
        data.extend_from_slice(&binding(aad)?);
        data.extend_from_slice(plain.expose());
        Ok(Request::Encrypt { key: self.key(), mechanism: CipherMechanism::AesKeyWrap, data: SecretBytes::new(data) })
    }

    fn unwrap_request(&self, wrapped: &[u8], aad: &[u8]) -> Result<(Request, u8)> {
        let (mechanism, data, kind) = match wrapped {
            [VERSION, GCM, rest @ ..] if rest.len() >= NONCE + TAG => {
                let (nonce, data) = rest.split_at(NONCE);
                (CipherMechanism::AesGcm { iv: nonce.to_vec(), aad: aad.to_vec(), tag_len: TAG }, data, GCM)
            }
            [VERSION, KEY_WRAP, rest @ ..] => (CipherMechanism::AesKeyWrap, rest, KEY_WRAP),
            _ => return Err(KsError::integrity("the wrapped value is not one of this version")),
        };
        Ok((Request::Decrypt { key: self.key(), mechanism, data: data.to_vec() }, kind))
    }
}

impl KekProvider for Pkcs11Kek {
    fn describe(&self) -> KekDescriptor {
        KekDescriptor { kind: "pkcs11", name: format!("key {} on token {}", self.id, self.token.name()) }
    }

    fn wrap<'a>(&'a self, plain: &'a SecretBytes, aad: &'a [u8], cx: OpCx) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let nonce = local::random(NONCE)?.into_exposed();
            match self.token.call(self.wrap_gcm(plain, &nonce, aad)?, cx).await {
                Ok(response) => gcm_blob(&nonce, response),
                Err(e) if e.class() == Class::Unsupported => {
                    key_wrap_blob(self.token.call(self.wrap_kw(plain, aad)?, cx).await?)
                }
                Err(e) => Err(e),
            }
        })
    }

    fn unwrap<'a>(&'a self, wrapped: &'a [u8], aad: &'a [u8], cx: OpCx) -> BoxFuture<'a, Result<SecretBytes>> {
        Box::pin(async move {
            let (request, mechanism) = self.unwrap_request(wrapped, aad)?;
            finish_unwrap(self.token.call(request, cx).await?, mechanism, aad)
        })
    }

    fn health(&self) -> Health {
        self.token.health()
    }
}

fn gcm_blob(nonce: &[u8], response: Response) -> Result<Vec<u8>> {
    let Response::Bytes(data) = response else { return Err(mismatch()) };
    Ok([&[VERSION, GCM], nonce, &data].concat())
}

fn key_wrap_blob(response: Response) -> Result<Vec<u8>> {
    let Response::Bytes(data) = response else { return Err(mismatch()) };
    Ok([&[VERSION, KEY_WRAP][..], &data].concat())
}

fn finish_unwrap(response: Response, mechanism: u8, aad: &[u8]) -> Result<SecretBytes> {
    let Response::Secret(plain) = response else { return Err(mismatch()) };
    if mechanism == GCM {
        return Ok(plain);
    }
    match plain.expose().split_at_checked(BINDING) {
        Some((bound, plain)) if bool::from(bound.ct_eq(&binding(aad)?)) => Ok(SecretBytes::copy_of(plain)),
        _ => Err(KsError::integrity("the wrapped value belongs to something else")),
    }
}

fn binding(aad: &[u8]) -> Result<Vec<u8>> {
    local::hash(HashingAlgorithm::Sha256, aad)
}

fn mismatch() -> KsError {
    KsError::new(Class::Corrupt, "the worker's answer is not one to the request")
}
