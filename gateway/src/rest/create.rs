//! `POST /keys`: a new key, or a new key pair.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode, response::Response};
use keygate_kmip::{
    Attribute, AttributeInstance, Attributes, CreateKeyPairRequest, CreateRequest, CryptographicDomainParameters, DateTime, Name, ObjectType, Operation,
    RequestPayload, ResponsePayload, UniqueIdentifier,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::Body,
    caller::{KeysCreate, May},
    run::{Task, Work, mixed_up},
    view::KeyView,
    wishes::{self, DELETABLE, Kind},
};
use crate::{operation::OperationError, store::ObjectId};

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NewKey {
    /// 1 to 64 letters, digits and any of `_ . -`, unique among the keys of the user's client.
    name: String,
    /// AES, HMAC-SHA256, HMAC-SHA384, HMAC-SHA512, RSA or EC. RSA and EC make a pair: the private key has the name.
    algorithm: String,
    /// Bits. Without it: AES 256, HMAC as its hash, RSA 3072, EC 256.
    #[serde(default)]
    length: Option<i32>,
    /// SIGN, VERIFY, ENCRYPT, DECRYPT, WRAP_KEY, UNWRAP_KEY, MAC_GENERATE, MAC_VERIFY, DERIVE_KEY, KEY_AGREEMENT.
    #[serde(default)]
    usage_mask: Option<Vec<String>>,
    /// Whether its material may leave. Without it: no.
    #[serde(default)]
    exportable: bool,
    /// Whether it may be destroyed over REST. Without it: yes.
    #[serde(default = "yes")]
    deletable: bool,
    /// The owner: the client that the user acts for, or the user's name. It can be no other.
    #[serde(default)]
    owner: Option<String>,
    /// A group.
    #[serde(default)]
    group: Option<String>,
    /// Name of the keystore it goes to. Without it: the client's, or the server's default.
    #[serde(default)]
    keystore: Option<String>,
    /// Attributes of the client's own, texts.
    #[serde(default)]
    attributes: BTreeMap<String, Option<String>>,
}

fn yes() -> bool {
    true
}

/// Makes a key. It is active at once.
#[utoipa::path(post, path = "/api/key/v1/keys", tag = "keys", request_body = NewKey, security(("basic" = ["keys:create"])),
    responses((status = 201, description = "The key.", body = KeyView), (status = 400, description = "A field that is not accepted.", body = Failure),
        (status = 409, description = "The name is taken: it was made before, or is another's.", body = Failure)))]
pub(super) async fn create(may: May<KeysCreate>, State(rest): State<Rest>, Body(wish): Body<NewKey>) -> Result<Response, Refused> {
    let caller = may.caller();
    let own = |owner: &str| owner == &*caller.name || caller.user.as_ref().is_some_and(|user| owner == &*user.name);
    if wish.owner.as_deref().is_some_and(|owner| !own(owner)) {
        return Err(Refused::invalid("owner can only be the client that this user acts for"));
    }
    let key = rest.run(&may, &Create::read(wish)?).await?;
    Ok(done(StatusCode::CREATED, &key))
}

/// A checked wish.
struct Create {
    kind: Kind,
    usage: keygate_kmip::CryptographicUsageMask,
    name: Attribute,
    exportable: bool,
    /// What both halves of a pair have.
    common: Vec<Attribute>,
}

impl Create {
    fn read(wish: NewKey) -> Result<Self, Refused> {
        wishes::name(&wish.name)?;
        wishes::attributes(&wish.attributes)?;
        let kind = wishes::kind(&wish.algorithm, wish.length)?;
        let usage = kind.usage(wish.usage_mask.as_deref())?;
        let mut common = Vec::new();
        if let Some(group) = wish.group {
            wishes::group(&group)?;
            common.push(Attribute::ObjectGroup(group));
        }
        if !wish.deletable {
            common.push(wishes::custom(DELETABLE, "false"));
        }
        common.extend(wish.keystore.as_deref().map(wishes::keystore));
        for (name, value) in &wish.attributes {
            let value = value.as_deref().ok_or_else(|| Refused::invalid(format!("attribute {name} has no value")))?;
            common.push(wishes::custom(name, value));
        }
        Ok(Self { kind, usage, name: Attribute::Name(Name::text(&wish.name)), exportable: wish.exportable, common })
    }

    fn common(&self, now: i64) -> Vec<Attribute> {
        let mut list = self.common.clone();
        // KMIP 2.1 §4.1: an Activation Date that is reached makes the key Active.
        list.push(Attribute::ActivationDate(DateTime(now)));
        list
    }
}

impl Task for Create {
    type Answer = KeyView;

    fn operation(&self) -> Operation {
        match self.kind {
            Kind::Symmetric(..) => Operation::Create,
            Kind::Pair(..) => Operation::CreateKeyPair,
        }
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyView, OperationError> {
        let mut common = self.common(work.exchange.now);
        let secret = [self.name.clone(), Attribute::Extractable(self.exportable)];
        let payload = match self.kind {
            Kind::Symmetric(algorithm, bits) => {
                common.extend([Attribute::CryptographicAlgorithm(algorithm), Attribute::CryptographicLength(bits)]);
                common.push(Attribute::CryptographicUsageMask(self.usage));
                common.extend(secret);
                let object_type = ObjectType::SymmetricKey;
                RequestPayload::Create(CreateRequest { object_type, attributes: all(common), protection_storage_masks: None })
            }
            Kind::Pair(algorithm, bits, curve) => {
                common.extend([Attribute::CryptographicAlgorithm(algorithm), Attribute::CryptographicLength(bits)]);
                common.extend(curve.map(|curve| {
                    let parameters = CryptographicDomainParameters { qlength: None, recommended_curve: Some(curve) };
                    Attribute::CryptographicDomainParameters(parameters)
                }));
                let (of_private, of_public) = wishes::halves(self.usage);
                let private = secret.into_iter().chain([Attribute::CryptographicUsageMask(of_private)]).collect();
                let public = vec![Attribute::CryptographicUsageMask(of_public)];
                RequestPayload::CreateKeyPair(CreateKeyPairRequest {
                    common: Some(all(common)),
                    private_key: Some(all(private)),
                    public_key: Some(all(public)),
                    common_protection_storage_masks: None,
                    private_protection_storage_masks: None,
                    public_protection_storage_masks: None,
                })
            }
        };
        let made = match work.item(payload).await? {
            ResponsePayload::Create(made) => made.unique_identifier,
            ResponsePayload::CreateKeyPair(made) => made.private_key_unique_identifier,
            other => return Err(mixed_up(&other)),
        };
        KeyView::of(work, id_of(&made)?, &mut 0).await
    }
}

/// The id in an answer of ours.
pub(super) fn id_of(identifier: &UniqueIdentifier) -> Result<ObjectId, OperationError> {
    let parsed = identifier.as_text().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| OperationError::internal("an answer of our own", "names no object"))
}

fn all(list: Vec<Attribute>) -> Attributes {
    Attributes { templates: Vec::new(), list: list.into_iter().map(AttributeInstance::from).collect() }
}
