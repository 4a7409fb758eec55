//! `POST /keys`: a new key or key pair, made here or of material that is brought along.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode, response::Response};
use keygate_kmip::{
    AddAttributeRequest, Attribute, AttributeInstance, Attributes, CreateKeyPairRequest, CreateRequest, CryptographicDomainParameters,
    CryptographicUsageMask as Mask, DateTime, Link, LinkType, ManagedObject, Name, ObjectType, Operation, RegisterRequest, RequestPayload,
    ResponsePayload, UniqueIdentifier,
};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroize as _;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::Body,
    caller::{KeysCreate, May},
    material::Given,
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
    /// Bits. Without it: AES 256, HMAC as its hash, RSA 3072, EC 256; of material, what it has.
    #[serde(default)]
    length: Option<i32>,
    /// With EC, instead of the length: P-256, P-384 or P-521.
    #[serde(default)]
    curve: Option<String>,
    /// Base64 of a key that is taken in instead of one that is made: the octets of a symmetric key, PKCS#8 of a private one, whose
    /// public half is worked out.
    #[serde(default)]
    material: Option<String>,
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

impl Drop for NewKey {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

fn yes() -> bool {
    true
}

/// Makes a key, or takes one in. It is active at once.
#[utoipa::path(post, path = "/api/key/v1/keys", tag = "keys", request_body = NewKey, security(("basic" = ["keys:create"])),
    responses((status = 201, description = "The key.", body = KeyView), (status = 400, description = "A field that is not accepted.", body = Failure),
        (status = 409, description = "The name is taken: it was made before, or is another's.", body = Failure)))]
pub(super) async fn create(may: May<KeysCreate>, State(rest): State<Rest>, Body(wish): Body<NewKey>) -> Result<Response, Refused> {
    let caller = may.caller();
    let own = |owner: &str| owner == &*caller.name || caller.user.as_ref().is_some_and(|user| owner == &*user.name);
    if wish.owner.as_deref().is_some_and(|owner| !own(owner)) {
        return Err(Refused::invalid("owner can only be the client that this user acts for"));
    }
    let key = rest.run(&may, Create::read(&wish)?).await?;
    Ok(done(StatusCode::CREATED, &key))
}

/// A checked wish.
struct Create {
    kind: Kind,
    given: Option<Given>,
    usage: Mask,
    name: Attribute,
    exportable: bool,
    /// What both halves of a pair have.
    common: Vec<Attribute>,
}

impl Create {
    fn read(wish: &NewKey) -> Result<Self, Refused> {
        wishes::name(&wish.name)?;
        wishes::attributes(&wish.attributes)?;
        let curve = wish.curve.as_deref();
        let (kind, given) = match wish.material.as_deref() {
            None => (wishes::kind(&wish.algorithm, wish.length, curve)?, None),
            Some(text) => {
                // The lengths that are made are fewer than those that are taken in.
                let length = wish.length.filter(|_| ["RSA", "EC"].contains(&wish.algorithm.as_str()));
                let said = wishes::kind(&wish.algorithm, length, curve)?;
                let given = Given::read(text, said, wish.length, curve)?;
                (given.kind, Some(given))
            }
        };
        let usage = kind.usage(wish.usage_mask.as_deref())?;
        let mut common = Vec::new();
        if let Some(group) = &wish.group {
            wishes::group(group)?;
            common.push(Attribute::ObjectGroup(group.clone()));
        }
        if !wish.deletable {
            common.push(wishes::custom(DELETABLE, "false"));
        }
        common.extend(wish.keystore.as_deref().map(wishes::keystore));
        for (name, value) in &wish.attributes {
            let value = value.as_deref().ok_or_else(|| Refused::invalid(format!("attribute {name} has no value")))?;
            common.push(wishes::custom(name, value));
        }
        Ok(Self { kind, given, usage, name: Attribute::Name(Name::text(&wish.name)), exportable: wish.exportable, common })
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
        match (self.kind, &self.given) {
            (_, Some(_)) => Operation::Register,
            (Kind::Symmetric(..), None) => Operation::Create,
            (Kind::Pair(..), None) => Operation::CreateKeyPair,
        }
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyView, OperationError> {
        let id = match &self.given {
            Some(given) => self.take_in(work, given).await?,
            None => self.make(work).await?,
        };
        KeyView::with_public_value(work, id).await
    }
}

impl Create {
    async fn make(&self, work: &mut Work<'_, '_>) -> Result<ObjectId, OperationError> {
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
        id_of(&made)
    }

    /// Registers a key, and the public half of a private one, linked as those of a pair that is made here.
    async fn take_in(&self, work: &mut Work<'_, '_>, given: &Given) -> Result<ObjectId, OperationError> {
        let common = self.common(work.exchange.now);
        let (usage, of_public) = match self.kind {
            Kind::Symmetric(..) => (self.usage, Mask::default()),
            Kind::Pair(..) => wishes::halves(self.usage),
        };
        let mut list = vec![self.name.clone(), Attribute::Extractable(self.exportable), Attribute::CryptographicUsageMask(usage)];
        list.extend(common.iter().cloned());
        let Some(public) = &given.public else { return register(work, list, &given.object).await };
        let mut of_half = vec![Attribute::CryptographicUsageMask(of_public)];
        of_half.extend(common);
        let public = register(work, of_half, public).await?;
        list.push(link(LinkType::PublicKeyLink, public));
        let private = register(work, list, &given.object).await?;
        let back = AddAttributeRequest {
            unique_identifier: Some(UniqueIdentifier::Text(public.to_string())),
            attribute: link(LinkType::PrivateKeyLink, private).into(),
        };
        work.item(RequestPayload::AddAttribute(back)).await?;
        Ok(private)
    }
}

async fn register(work: &mut Work<'_, '_>, list: Vec<Attribute>, object: &ManagedObject) -> Result<ObjectId, OperationError> {
    let request = RegisterRequest {
        object_type: object.object_type(),
        attributes: all(list),
        object: object.clone(),
        protection_storage_masks: None,
    };
    match work.item(RequestPayload::Register(request)).await? {
        ResponsePayload::Register(made) => id_of(&made.unique_identifier),
        other => Err(mixed_up(&other)),
    }
}

fn link(link_type: LinkType, to: ObjectId) -> Attribute {
    Attribute::Link(Link { link_type, linked_object_identifier: UniqueIdentifier::Text(to.to_string()) })
}

/// The id in an answer of ours.
pub(super) fn id_of(identifier: &UniqueIdentifier) -> Result<ObjectId, OperationError> {
    let parsed = identifier.as_text().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| OperationError::internal("an answer of our own", "names no object"))
}

fn all(list: Vec<Attribute>) -> Attributes {
    Attributes { templates: Vec::new(), list: list.into_iter().map(AttributeInstance::from).collect() }
}
