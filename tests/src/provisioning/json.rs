//! The JSON API of the clients listener: `/v1/enrol` with a bearer secret, `/v1/renew`, `/v1/rekey`, `/v1/revoke` by certificate.

use std::io;

use serde_json::{Value, json};

use super::Service;
use crate::est::Account;
use crate::est::curl::{Answer, Shown, call, call_with};
use crate::pem;
use crate::relying::Device;

/// Label of a certificate request in PEM.
pub const CSR: &str = "CERTIFICATE REQUEST";

/// `POST /v1/enrol`; `names` as the API takes them: `IP: 192.0.2.1, DNS: example.com`.
///
/// # Errors
/// If there is no answer.
pub fn enrol(service: &Service, account: &Account, csr: &[u8], names: Option<&str>) -> io::Result<Answer> {
    let mut body = json!({ "csr": pem::encode(CSR, csr) });
    if let Some(names) = names {
        body["names"] = names.into();
    }
    let bearer = format!("Authorization: Bearer {}.{}", account.id, account.secret);
    let body = body.to_string();
    let body = Some(("application/json", body.as_bytes()));
    call_with(&service.est(), &service.folder(), "/v1/enrol", Shown::Nothing, body, &[&bearer])
}

/// `POST /v1/renew`, `/v1/rekey` or `/v1/revoke` with a device's certificate.
///
/// # Errors
/// If there is no answer, such as when the TLS handshake is refused.
pub fn by_certificate(service: &Service, what: &str, device: &Device, body: &Value) -> io::Result<Answer> {
    let body = body.to_string();
    let body = Some(("application/json", body.as_bytes()));
    call(&service.est(), &service.folder(), &format!("/v1/{what}"), Shown::Device(device), body)
}

/// The first certificate in an answer, DER: whichever field it stands in.
///
/// # Errors
/// If the status is not 200 or 201, or there is none.
pub fn certificate(answer: &Answer) -> io::Result<Vec<u8>> {
    let refused = || io::Error::other(format!("status {}: {}", answer.status, answer.text()));
    if !matches!(answer.status, 200 | 201) {
        return Err(refused());
    }
    let value: Value = serde_json::from_slice(&answer.body)?;
    let text = first_pem(&value).ok_or_else(refused)?;
    pem::certificates(text)?.first().map(|certificate| certificate.to_vec()).ok_or_else(refused)
}

fn first_pem(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => text.contains("BEGIN CERTIFICATE-").then_some(text),
        Value::Array(list) => list.iter().find_map(first_pem),
        Value::Object(fields) => fields.values().find_map(first_pem),
        _ => None,
    }
}
