//! `/v1/exports`: an organisation's keys as one encrypted file, streamed, and what became of the last ones.
//!
//! No password is made here: it would travel with the file. Recipients' public keys are the way; a password of the caller's own
//! is taken for the ZIP forms.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinHandle};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api, Within,
    body::{Asked, Wish},
    caller::{Acts, Sees},
    error::{internal, invalid},
    imports::refused,
};
use crate::{
    admin::{AdminError, DataSink, Password, StreamItem},
    age_file::Lock,
    export::{self, ExportFormat, ExportSummary},
    http::Problem,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(make)).routes(routes!(report))
}

/// What left with an export, and what did not.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExportView {
    /// Its id.
    pub id: String,
    /// Keys and other objects in the file.
    pub keys: u64,
    /// Objects that did not leave.
    pub left_out: u64,
    /// Of those, at most 10,000.
    pub reasons: Vec<LeftOutView>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// An object that did not leave.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeftOutView {
    /// Unique Identifier.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// An export to be made. No `Debug`: it may hold a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewExport {
    /// Form of the file.
    format: Form,
    /// For `age`: public keys (age1...) of who may open the file.
    #[serde(default)]
    recipients: Vec<String>,
    /// For `zip-json` and `zip-xml`: the password, of 80 bits or more.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
}

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Age,
    ZipJson,
    ZipXml,
}

impl NewExport {
    fn format(self) -> Result<ExportFormat, Problem> {
        match (self.format, self.password) {
            (Form::Age, None) => Ok(ExportFormat::Age(Lock::Recipients(self.recipients))),
            (Form::Age, Some(_)) => Err(invalid("an age file is made for recipients, not with a password")),
            (Form::ZipJson | Form::ZipXml, _) if !self.recipients.is_empty() => {
                Err(invalid("recipients are for the form \"age\""))
            }
            (Form::ZipJson, Some(password)) => Ok(ExportFormat::ZipJson(password)),
            (Form::ZipXml, Some(password)) => Ok(ExportFormat::ZipXml(password)),
            (Form::ZipJson | Form::ZipXml, None) => Err(invalid("this form needs a password")),
        }
    }
}

/// Exports the keys of an organisation.
///
/// The answer ends early if the export fails on its way: a file is whole when the connection says so. Then the report is at the
/// address in Location.
#[utoipa::path(post, path = "/v1/exports", tag = "keys", params(Within), request_body = NewExport,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The file.", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 422, description = "A weak password, or recipients that are none.")))]
async fn make(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<NewExport>,
) -> Result<Response, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let name = api.organisation_name(organisation);
    let gateway = api.provisioning.gateway().ok_or_else(|| invalid("the object layer is not open"))?;
    let format = wish.format()?;
    let deciding = acts.deciding.clone();
    let permit = export::authorise_export(deciding.actor, deciding.source, acts.role, organisation);
    let permit = permit.map_err(|error| invalid(error.to_string()))?;
    let (sink, mut items) = DataSink::channel();
    let (id, reports) = (Uuid::now_v7(), api.exports.clone());
    let work = tokio::spawn(async move {
        let made = export::make(gateway, permit, name, format, sink).await;
        if let Ok(summary) = &made {
            reports.keep(id, organisation, summary.clone());
        }
        made
    });
    // Nothing is answered before the first octets: until then a refusal can be one.
    loop {
        match items.recv().await {
            Some(StreamItem::Data(first)) => return Ok(answer(id, FileBody { first: Some(first), items, work })),
            Some(StreamItem::Progress(_)) => {}
            None => return Err(no_file(work.await)),
        }
    }
}

/// What became of an export: what is in the file, what is not and why. The last 16 are known, until the gateway is started again.
#[utoipa::path(get, path = "/v1/exports/{id}", tag = "keys", params(Within, ("id" = String, Path, description = "As Location had it.")),
    security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The report.", body = ExportView), (status = 404, description = "Not known, or not any more.")))]
async fn report(sees: Sees, State(api): State<Api>, Asked(within): Asked<Within>, Path(id): Path<String>) -> Result<axum::Json<ExportView>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    let found = id.parse().ok().and_then(|id| api.exports.find(id, organisation));
    let none = || Problem::new(StatusCode::NOT_FOUND, "not-found", "not found", "there is no report of such an export");
    let ExportSummary { keys, left_out, reasons, sha256 } = found.ok_or_else(none)?;
    let reasons = reasons.into_iter().map(|(id, reason)| LeftOutView { id, reason }).collect();
    Ok(axum::Json(ExportView { id, keys, left_out, reasons, sha256 }))
}

fn answer(id: Uuid, body: FileBody) -> Response {
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(report) = HeaderValue::from_str(&format!("/v1/exports/{id}")) {
        headers.insert(header::LOCATION, report);
    }
    response
}

fn no_file(ended: Result<Result<ExportSummary, AdminError>, tokio::task::JoinError>) -> Problem {
    match ended {
        Ok(Err(error)) => refused(error),
        // A file always has octets.
        Ok(Ok(_)) => internal(&std::io::Error::other("an export of nothing")),
        Err(error) => internal(&error),
    }
}

/// The file as it is made.
struct FileBody {
    first: Option<Vec<u8>>,
    items: mpsc::Receiver<StreamItem>,
    work: JoinHandle<Result<ExportSummary, AdminError>>,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first.into()))));
        }
        loop {
            match self.items.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(StreamItem::Data(octets))) => {
                    return Poll::Ready(Some(Ok(Frame::data(octets.into()))));
                }
                Poll::Ready(Some(StreamItem::Progress(_))) => {}
                Poll::Ready(None) => break,
            }
        }
        match Pin::new(&mut self.work).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Ok(_))) => Poll::Ready(None),
            // Without an end the file does not look whole.
            Poll::Ready(_) => Poll::Ready(Some(Err(std::io::Error::other("the export failed on its way")))),
        }
    }
}
