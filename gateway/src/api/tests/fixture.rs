//! An API over a data directory of its own, and requests to it as different callers.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, header},
};
use http_body_util::BodyExt as _;
use keygate_pki::{
    BlockList, DistinguishedName, NewRequest, OffsetDateTime, PrivateKey, SignatureAlgorithm, provisioning::PresentedSecret,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::{
    api::{Api, ApiCaller, router},
    audit::{Actor, Refusals},
    authority,
    identity::{DirectoryContent, DirectoryHandle},
    provisioning::{Deciding, EnrolRequest, Parts, Provisioning},
    seal::{NewSlot, Seal},
    store::{EntryId, OrganisationId, Role, Store, StoreOptions},
};

/// The API, and what it stands on.
pub(super) struct World {
    _dir: TempDir,
    pub(super) api: Api,
    router: Router,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    /// The body of an answer that must have this status.
    pub(super) fn of(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The code of a refusal that must have this status.
    pub(super) fn code(self, status: u16) -> String {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        self.of(status)["code"].as_str().expect("a code").to_owned()
    }

    pub(super) fn etag(&self) -> String {
        self.headers[header::ETAG].to_str().expect("text").to_owned()
    }
}

/// One that acts everywhere.
pub(super) fn writer() -> ApiCaller {
    ApiCaller::local(Actor::LocalUser(1000))
}

/// One that sees everywhere.
pub(super) fn reader() -> ApiCaller {
    ApiCaller { role: Role::SecurityRead, ..writer() }
}

/// One that acts in one organisation.
pub(super) fn of(organisation: OrganisationId) -> ApiCaller {
    let source = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let deciding = Deciding { actor: Actor::Admin(EntryId::generate()), source };
    ApiCaller { deciding, role: Role::SecurityWrite, organisation: Some(organisation) }
}

impl World {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("a new seal");
        let options = StoreOptions { reserve_bytes: 64 << 10, ..StoreOptions::default() };
        let store = Store::create(dir.path(), seal.store_id(), std::sync::Arc::new(root), options).await.expect("a store");
        authority::create_missing(&store, OffsetDateTime::now_utc(), &Actor::System).await.expect("authorities");
        let directory = std::sync::Arc::new(DirectoryHandle::new(DirectoryContent::from_store(&store)));
        let refusals: std::sync::Arc<Refusals> = std::sync::Arc::default();
        let parts = Parts {
            directory: directory.clone(),
            store: store.clone(),
            public_url: "http://pki.example:8080".parse().expect("a URL"),
            other_cas: Vec::new(),
            quotas: crate::store::CertificateQuotas::default(),
            blocked: BlockList::default(),
            refusals: refusals.clone(),
            clock: std::sync::Arc::new(OffsetDateTime::now_utc),
        };
        let provisioning = std::sync::Arc::new(Provisioning::new(parts).expect("provisioning"));
        let keystores = crate::keystores::KeystoreService::new(crate::keystores::Parts {
            store: store.clone(),
            of_the_file: Vec::new(),
            secret: std::sync::Arc::new(|_| Ok(None)),
            file_default: "local".into(),
            data_dir: dir.path().to_owned(),
            open: std::sync::Arc::new(|_, _| Err("nothing is opened here".into())),
            readiness: std::sync::Arc::default(),
            seal_changes: std::sync::Arc::default(),
        });
        let api = Api { provisioning, store, directory, refusals, keystores: std::sync::Arc::new(keystores), exports: std::sync::Arc::default() };
        Self { _dir: dir, router: router(api.clone()), api }
    }

    /// With the service enabled.
    pub(super) async fn enabled() -> Self {
        let world = Self::new().await;
        world.post("/v1/service/enable", json!({ "acknowledged": true })).await.of(200);
        world
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Some(reader()), "GET", path, None, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Some(writer()), "POST", path, None, Some(body.to_string())).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Some(writer()), "PATCH", path, None, Some(body.to_string())).await
    }

    pub(super) async fn ask(
        &self,
        caller: Option<ApiCaller>,
        method: &str,
        path: &str,
        if_match: Option<&str>,
        body: Option<String>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let mut request = request.body(Body::from(body.unwrap_or_default())).expect("a request");
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        self.send(request).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// A provisioning key: what its creator is told.
    pub(super) async fn key(&self, name: &str) -> Value {
        self.post("/v1/provisioning-keys", json!({ "name": name })).await.of(201)
    }

    /// Enrols a client; its certificate's serial number.
    pub(super) async fn enrol(&self, key: &Value, name: &str) -> String {
        let secret = PresentedSecret::from_pair(key["secret"].as_str().expect("a secret")).expect("a pair");
        let pair = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
        let subject = DistinguishedName::new(None, name).expect("a name");
        let request = NewRequest::client(&subject, &[]).sign(&pair).expect("a request");
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let asked = EnrolRequest { secret: &secret, organisation: None, source, request: &request, names: &[], make_key: false };
        let enrolled = self.api.provisioning.enrol(&asked).await.expect("enrolled");
        hex::encode(enrolled.certificate.serial())
    }
}
