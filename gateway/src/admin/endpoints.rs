//! Where clients listen, and what they say of themselves when they are asked. KMIP 1.4 §5.3 Query and Discover Versions from the
//! server to a client.

use keygate_kmip::ttlv::Limits;
use keygate_kmip::xml::{self, Masking};
use keygate_kmip::{DiscoverVersionsRequest, ProtocolVersion, QueryFunction, QueryRequest, RequestPayload};
use std::sync::Arc;

use super::{Admin, AdminError, AdminReply, reply::EndpointView};
use crate::audit::{Action, Details};
use crate::notify::Endpoint;

/// What is asked where nothing is said.
const USUAL: [QueryFunction; 3] =
    [QueryFunction::QueryOperations, QueryFunction::QueryObjects, QueryFunction::QueryServerInformation];

impl Admin<'_> {
    pub(super) fn endpoint_list(&self) -> AdminReply {
        let view = |endpoint: &Arc<Endpoint>| EndpointView {
            client: endpoint.config().client.clone(),
            address: endpoint.config().address.to_string(),
            version: endpoint.config().version.to_string(),
            put: endpoint.config().put,
            notify: endpoint.config().notify,
            waiting: endpoint.waiting() as u64,
            sent: endpoint.sent(),
            failed: endpoint.failed(),
            trouble: endpoint.trouble(),
        };
        AdminReply::Endpoints(self.app.endpoints.list().iter().map(view).collect())
    }

    /// Asks a client by Query; without functions for what it does and who it is.
    pub(super) async fn endpoint_query(&self, client: &str, functions: &[String]) -> Result<AdminReply, AdminError> {
        let endpoint = self.endpoint(client)?;
        let mut asked =
            functions.iter().map(|name| function(name, endpoint.config().version)).collect::<Result<Vec<_>, _>>()?;
        if asked.is_empty() {
            asked.extend(USUAL);
        }
        self.ask(endpoint, QueryRequest { functions: asked, object_groups: None }.into(), Action::Query).await
    }

    /// Asks a client which versions it speaks.
    pub(super) async fn endpoint_versions(&self, client: &str) -> Result<AdminReply, AdminError> {
        let endpoint = self.endpoint(client)?;
        if endpoint.config().version < ProtocolVersion::V1_1 {
            return Err(AdminError::usage("KMIP 1.0 has no Discover Versions"));
        }
        self.ask(endpoint, DiscoverVersionsRequest { versions: Vec::new() }.into(), Action::DiscoverVersions).await
    }

    fn endpoint(&self, client: &str) -> Result<&Arc<Endpoint>, AdminError> {
        let none = || AdminError::name(format!("keygate.toml has no [[endpoint]] of client \"{client}\""));
        self.app.endpoints.of(client).ok_or_else(none)
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        payload: RequestPayload,
        action: Action,
    ) -> Result<AdminReply, AdminError> {
        let answer = endpoint.ask(payload).await.map_err(AdminError::failed)?;
        self.record(
            self.event(action, Details::Reason(format!("asked of the endpoint of {}", endpoint.config().client))),
        )
        .await?;
        let limits = Limits { message_bytes_max: answer.len(), ..Limits::default() };
        let xml = xml::write(&answer, &limits, Masking::Secrets).map_err(AdminError::failed)?;
        Ok(AdminReply::Message { xml: xml.to_string() })
    }
}

/// A Query Function by its name, `QueryProfiles` or `profiles`.
fn function(name: &str, version: ProtocolVersion) -> Result<QueryFunction, AdminError> {
    let is_named = |function: &&QueryFunction| {
        let full = function.xml_name().unwrap_or_default();
        full.eq_ignore_ascii_case(name)
            || full.strip_prefix("Query").is_some_and(|short| short.eq_ignore_ascii_case(name))
    };
    let found = QueryFunction::ALL.iter().find(is_named).copied();
    let found = found.ok_or_else(|| {
        AdminError::usage(format!("\"{name}\" is no Query Function of KMIP, such as profiles or operations"))
    })?;
    if found.first() > version {
        return Err(AdminError::usage(format!("KMIP {version}, in which the endpoint is called, has no {found}")));
    }
    Ok(found)
}
