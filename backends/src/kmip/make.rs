//! Objects in the server: made, taken in, found again and destroyed.
//!
//! The private or secret half of key ID in keystore KS is named `keygate:KS:ID`, the public half `keygate:KS:ID:public`;
//! both are in the Object Group `keygate:KS`, by which they are listed.

use super::client::{OnError, mismatch};
use super::keystore::{KmipKeystore, Located};
use super::material;
use crate::error::{Class, KsError, Result};
use crate::key::{KeyCheck, KeyClass, KeyId, KeySpec, PairSpec};
use crate::keystore::{KeyInfo, OpCx};
use crate::local::{KeyKind, KeyMaterial};
use crate::operation::{BlockPadding, EncryptionScheme};
use crate::remote::Effect;
use keygate_kmip::{
    ActivateRequest, Attribute, AttributeName, Attributes, CreateKeyPairRequest, CreateRequest,
    CryptographicAlgorithm as A, CryptographicDomainParameters, CryptographicUsageMask as Mask, DestroyRequest,
    EncryptRequest, GetAttributesRequest, GetRequest, LocateRequest, ManagedObject, Name, ObjectType, Operation,
    ProtocolVersion, RecommendedCurve, RegisterRequest, RequestPayload, ResponsePayload, RevocationReason,
    RevocationReasonCode, RevokeRequest, Secret, State, Tag, UniqueIdentifier,
};
use std::sync::Arc;

/// Objects per page of a listing.
const PAGE: usize = 200;
/// Objects whose attributes are asked for in one message.
const ASKED_AT_ONCE: usize = 50;
/// Pages of a listing: a server that never ends one is not believed.
const PAGES_MAX: usize = 5_000;

const PUBLIC_SUFFIX: &str = ":public";

impl KmipKeystore {
    fn group(&self) -> String {
        format!("keygate:{}", self.id)
    }

    pub(super) fn name(&self, id: KeyId) -> String {
        format!("keygate:{}:{id}", self.id)
    }

    fn public_name(&self, id: KeyId) -> String {
        format!("{}{PUBLIC_SUFFIX}", self.name(id))
    }

    /// Attributes that every object of ours has.
    fn ours(&self, name: &str, mask: Mask) -> Vec<Attribute> {
        vec![
            Attribute::Name(Name::text(name)),
            Attribute::ObjectGroup(self.group()),
            Attribute::CryptographicUsageMask(mask),
        ]
    }

    /// Makes a symmetric key, active, and reads its check value.
    pub(super) async fn create(&self, id: KeyId, spec: KeySpec, cx: OpCx) -> Result<KeyCheck> {
        let bits = i32::try_from(spec.bits).map_err(|_| KsError::parameters("key too long"))?;
        let mut list = self.ours(&self.name(id), symmetric_mask(spec.algorithm));
        list.extend([Attribute::CryptographicAlgorithm(spec.algorithm), Attribute::CryptographicLength(bits)]);
        let create = RequestPayload::Create(CreateRequest {
            object_type: ObjectType::SymmetricKey,
            attributes: attributes(list),
            protection_storage_masks: None,
        });
        let uid = self.make_active(id, create, spec.algorithm, cx).await?;
        if spec.algorithm != A::Aes || spec.bits > 256 {
            return Ok(KeyCheck::None);
        }
        self.check_value(&uid, cx).await
    }

    /// Makes a key pair, its private half active, and fetches the public half.
    pub(super) async fn create_pair(&self, id: KeyId, spec: PairSpec, cx: OpCx) -> Result<KeyMaterial> {
        let (algorithm, bits, curve) = match spec {
            PairSpec::Rsa { bits } => (A::Rsa, Some(bits), None),
            PairSpec::Ec { curve } => (A::Ec, curve_bits(curve), Some(curve)),
            PairSpec::Ed25519 => (A::Ed25519, Some(256), None),
            PairSpec::X25519 => return Err(KsError::unsupported("no X25519 keys behind KMIP")),
            PairSpec::MlDsa(_) | PairSpec::MlKem(_) => {
                return Err(KsError::unsupported("no ML-DSA and ML-KEM keys behind KMIP, which has them from version 3.0 on"));
            }
        };
        let mut common = vec![Attribute::ObjectGroup(self.group()), Attribute::CryptographicAlgorithm(algorithm)];
        let bits = bits.map(i32::try_from).transpose().map_err(|_| KsError::parameters("key too long"))?;
        common.extend(bits.map(Attribute::CryptographicLength));
        common.extend(curve.map(|curve| {
            let recommended_curve = Some(curve);
            Attribute::CryptographicDomainParameters(CryptographicDomainParameters { qlength: None, recommended_curve })
        }));
        let (private, public) = pair_masks(algorithm);
        let half = |name: String, mask| {
            Some(attributes(vec![Attribute::Name(Name::text(&name)), Attribute::CryptographicUsageMask(mask)]))
        };
        let create = RequestPayload::CreateKeyPair(CreateKeyPairRequest {
            common: Some(attributes(common)),
            private_key: half(self.name(id), private),
            public_key: half(self.public_name(id), public),
            common_protection_storage_masks: None,
            private_protection_storage_masks: None,
            public_protection_storage_masks: None,
        });
        self.make_active(id, create, algorithm, cx).await?;
        self.public_half(id, curve, cx).await
    }

    /// Takes a key in, active. What proves it was worked out from its value here.
    pub(super) async fn register(&self, id: KeyId, key: &KeyMaterial, cx: OpCx) -> Result<()> {
        let mask = match key.kind() {
            KeyKind::Symmetric(algorithm) => symmetric_mask(algorithm),
            kind => pair_masks(material::algorithm(kind)).0,
        };
        let object = material::to_object(key)?;
        let mut list = self.ours(&self.name(id), mask);
        let bits = i32::try_from(key.bits()?).map_err(|_| KsError::key("key too long"))?;
        let algorithm = material::algorithm(key.kind());
        list.extend([Attribute::CryptographicAlgorithm(algorithm), Attribute::CryptographicLength(bits)]);
        list.extend(material::curve(key.kind()).map(|curve| {
            let recommended_curve = Some(curve);
            Attribute::CryptographicDomainParameters(CryptographicDomainParameters { qlength: None, recommended_curve })
        }));
        let register = RequestPayload::Register(RegisterRequest {
            object_type: object.object_type(),
            attributes: attributes(list),
            object,
            protection_storage_masks: None,
        });
        self.make_active(id, register, algorithm, cx).await.map(drop)
    }

    /// Makes an object and activates it: in two messages, because not every server knows the ID Placeholder in Activate
    /// (PyKMIP 0.11). If the answer was lost, the object is looked for by its name: found, it was made; not found, it may
    /// still come, and the outcome stays unknown.
    async fn make_active(&self, id: KeyId, make: RequestPayload, algorithm: A, cx: OpCx) -> Result<Arc<str>> {
        let uid = match self.client.send_one(make, Effect::Change, cx).await {
            Ok(answer) => identifier(answer)?,
            Err(lost) if lost.class() == Class::OutcomeUnknown => {
                self.client.cluster.settle(cx).await;
                match self.locate(&self.name(id), cx).await {
                    Ok(Some(uid)) => uid,
                    _ => return Err(lost),
                }
            }
            Err(error) => return Err(error),
        };
        let unique_identifier = Some(UniqueIdentifier::Text(uid.to_string()));
        let activate = RequestPayload::Activate(ActivateRequest { unique_identifier });
        match self.client.send_one(activate, Effect::Change, cx).await {
            Ok(_) => {
                self.remember(id, &Located { uid: Arc::clone(&uid), algorithm: Some(algorithm) });
                Ok(uid)
            }
            Err(error) => Err(self.undo(id, error, cx).await),
        }
    }

    /// Takes back what was half made; what cannot be taken back is left to the caller's reconciliation.
    async fn undo(&self, id: KeyId, error: KsError, cx: OpCx) -> KsError {
        match self.destroy_all(id, cx).await {
            Ok(()) => error,
            Err(_) => error.into_class(Class::OutcomeUnknown),
        }
    }

    /// The one object of a name.
    pub(super) async fn locate(&self, name: &str, cx: OpCx) -> Result<Option<Arc<str>>> {
        let request = LocateRequest {
            maximum_items: Some(2),
            attributes: attributes(vec![Attribute::Name(Name::text(name))]),
            ..LocateRequest::default()
        };
        let found = match self.client.send_one(RequestPayload::Locate(request), Effect::Read, cx).await? {
            ResponsePayload::Locate(found) => found.unique_identifiers,
            _ => return Err(mismatch()),
        };
        match found.as_slice() {
            [] => Ok(None),
            [UniqueIdentifier::Text(uid)] => Ok(Some(uid.as_str().into())),
            _ => Err(KsError::new(Class::Corrupt, format!("the key server has several objects of the name {name}"))),
        }
    }

    /// Revokes and destroys both halves of a key. `NotFound` if there is none.
    pub(super) async fn destroy_all(&self, id: KeyId, cx: OpCx) -> Result<()> {
        let mut found = Vec::new();
        for name in [self.name(id), self.public_name(id)] {
            found.extend(self.locate(&name, cx).await?);
        }
        let mut destroyed = 0;
        for uid in &found {
            destroyed += usize::from(self.destroy_one(uid, cx).await?);
        }
        self.forget(id);
        match destroyed {
            0 => Err(KsError::not_found(format!("keystore {} holds no key {id}", self.id))),
            _ => Ok(()),
        }
    }

    /// Whether it was there to be destroyed.
    async fn destroy_one(&self, uid: &str, cx: OpCx) -> Result<bool> {
        let unique_identifier = Some(UniqueIdentifier::Text(uid.to_owned()));
        // KMIP 2.1 §6.1.16: an Active object is not destroyed, so it is revoked first; one that never was active refuses that.
        let revoke = RequestPayload::Revoke(RevokeRequest {
            unique_identifier: unique_identifier.clone(),
            revocation_reason: RevocationReason { code: RevocationReasonCode::CessationOfOperation, message: None },
            compromise_occurrence_date: None,
        });
        let destroy = RequestPayload::Destroy(DestroyRequest { unique_identifier });
        let mut answers = self.client.send(&[revoke, destroy], OnError::Continue, Effect::Change, cx).await?;
        match answers.pop().ok_or_else(mismatch)? {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The public half of a pair, fetched.
    pub(super) async fn public_half(
        &self,
        id: KeyId,
        curve: Option<RecommendedCurve>,
        cx: OpCx,
    ) -> Result<KeyMaterial> {
        let missing = || KsError::new(Class::Corrupt, "the key server does not have the public half of the key");
        let uid = self.locate(&self.public_name(id), cx).await?.ok_or_else(missing)?;
        let unique_identifier = Some(UniqueIdentifier::Text(uid.to_string()));
        let get = RequestPayload::Get(GetRequest { unique_identifier, ..GetRequest::default() });
        let object = fetched(&uid, self.client.send_one(get, Effect::Read, cx).await?)?;
        material::from_object(&object, curve)?.public_half()
    }

    /// The first three octets of an all-zero block under the key, where the server encrypts so.
    pub(super) async fn check_value(&self, uid: &str, cx: OpCx) -> Result<KeyCheck> {
        let scheme = EncryptionScheme::Ecb(BlockPadding::None);
        let peer = self.client.peer(cx).await?;
        if !peer.does(Operation::Encrypt) {
            return Ok(KeyCheck::None);
        }
        let mut given = super::parameters::encryption(&scheme, peer.version)?;
        given.cryptographic_algorithm = Some(A::Aes);
        let encrypt = RequestPayload::Encrypt(EncryptRequest {
            unique_identifier: Some(UniqueIdentifier::Text(uid.to_owned())),
            cryptographic_parameters: Some(given),
            data: Some(Secret::new(vec![0; 16])),
            iv_counter_nonce: None,
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
            additional_data: None,
        });
        match self.client.send_one(encrypt, Effect::Read, cx).await {
            Ok(ResponsePayload::Encrypt(answer)) => match answer.data.as_deref() {
                Some([a, b, c, ..]) => Ok(KeyCheck::Kcv([*a, *b, *c])),
                _ => Err(mismatch()),
            },
            Ok(_) => Err(mismatch()),
            // A server without this mode, or one that does not let keys be used so.
            Err(error) if matches!(error.class(), Class::Unsupported | Class::BadInput(_) | Class::Denied) => {
                Ok(KeyCheck::None)
            }
            Err(error) => Err(error),
        }
    }

    /// The keys of this keystore that are not destroyed.
    pub(super) async fn list_all(&self, cx: OpCx) -> Result<Vec<KeyInfo>> {
        let mut keys = Vec::new();
        let mut uids = Vec::new();
        let pages = self.client.peer(cx).await?.version >= ProtocolVersion::V1_3;
        for page in 0..PAGES_MAX {
            let request = LocateRequest {
                maximum_items: pages.then_some(as_i32(PAGE)),
                offset_items: (pages && page > 0).then_some(as_i32(page * PAGE)),
                attributes: attributes(vec![Attribute::ObjectGroup(self.group())]),
                ..LocateRequest::default()
            };
            let found = match self.client.send_one(RequestPayload::Locate(request), Effect::Read, cx).await? {
                ResponsePayload::Locate(found) => found.unique_identifiers,
                _ => return Err(mismatch()),
            };
            let is_last = !pages || found.len() < PAGE;
            uids.extend(found);
            if is_last {
                break;
            }
        }
        for some in uids.chunks(ASKED_AT_ONCE) {
            let ask = |uid: &UniqueIdentifier| {
                let names = [Tag::NAME, Tag::OBJECT_TYPE, Tag::STATE].map(AttributeName::Standard).to_vec();
                RequestPayload::GetAttributes(GetAttributesRequest { unique_identifier: Some(uid.clone()), names })
            };
            let asked: Vec<_> = some.iter().map(ask).collect();
            for answer in self.client.send(&asked, OnError::Continue, Effect::Read, cx).await? {
                match answer {
                    Ok(ResponsePayload::GetAttributes(answer)) => keys.extend(self.key_of(&answer.attributes)),
                    Ok(_) => return Err(mismatch()),
                    Err(error) if error.class() == Class::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(keys)
    }

    /// A key by its attributes; `None` for public halves, destroyed keys and what is not ours.
    fn key_of(&self, attributes: &Attributes) -> Option<KeyInfo> {
        let state = attributes.find(|attribute| match attribute {
            Attribute::State(state) => Some(*state),
            _ => None,
        });
        if matches!(state, Some(State::Destroyed | State::DestroyedCompromised)) {
            return None;
        }
        let prefix = format!("{}:", self.group());
        let (id, label) = attributes.find(|attribute| match attribute {
            Attribute::Name(name) => {
                let id = hex::decode(name.value.strip_prefix(&prefix)?).ok()?;
                Some((KeyId(id.try_into().ok()?), name.value.clone()))
            }
            _ => None,
        })?;
        let class = attributes.find(|attribute| match attribute {
            Attribute::ObjectType(ObjectType::PrivateKey) => Some(KeyClass::Private),
            Attribute::ObjectType(ObjectType::SymmetricKey) => Some(KeyClass::Secret),
            _ => None,
        })?;
        Some(KeyInfo { id, class, label })
    }
}

/// The object of a Get, which must be the one that was asked for.
pub(super) fn fetched(uid: &str, answer: ResponsePayload) -> Result<ManagedObject> {
    match answer {
        ResponsePayload::Get(answer) if answer.unique_identifier.as_text() == Some(uid) => Ok(answer.object),
        ResponsePayload::Get(_) => Err(KsError::new(Class::Corrupt, "the key server answers with another key")),
        _ => Err(mismatch()),
    }
}

fn attributes(list: Vec<Attribute>) -> Attributes {
    Attributes { templates: Vec::new(), list: list.into_iter().map(Into::into).collect() }
}

fn as_i32(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn identifier(answer: ResponsePayload) -> Result<Arc<str>> {
    let uid = match answer {
        ResponsePayload::Create(answer) => answer.unique_identifier,
        ResponsePayload::CreateKeyPair(answer) => answer.private_key_unique_identifier,
        ResponsePayload::Register(answer) => answer.unique_identifier,
        _ => return Err(mismatch()),
    };
    uid.as_text().map(Into::into).ok_or_else(mismatch)
}

fn symmetric_mask(algorithm: A) -> Mask {
    let mac = Mask::MAC_GENERATE | Mask::MAC_VERIFY;
    match algorithm {
        A::Aes => Mask::ENCRYPT | Mask::DECRYPT | Mask::WRAP_KEY | Mask::UNWRAP_KEY | mac,
        other if crate::resolve::hmac_hash(other).is_some() => mac,
        _ => Mask::ENCRYPT | Mask::DECRYPT,
    }
}

/// Usage masks of the private and the public half.
fn pair_masks(algorithm: A) -> (Mask, Mask) {
    match algorithm {
        A::Rsa => (Mask::SIGN | Mask::DECRYPT | Mask::UNWRAP_KEY, Mask::VERIFY | Mask::ENCRYPT | Mask::WRAP_KEY),
        _ => (Mask::SIGN, Mask::VERIFY),
    }
}

fn curve_bits(curve: RecommendedCurve) -> Option<u32> {
    match curve {
        RecommendedCurve::P224 => Some(224),
        RecommendedCurve::P256 | RecommendedCurve::Secp256k1 => Some(256),
        RecommendedCurve::P384 => Some(384),
        RecommendedCurve::P521 => Some(521),
        _ => None,
    }
}
