//! One request to the admin API, by whichever way, and refusals as failures of the command.

use std::fmt::Write as _;

use serde_json::Value;

use super::{args::Via, remote};
use crate::{
    admin::{AdminReply, AdminRequest},
    api::{LocalAnswer, LocalRequest},
    cli::{Failure, admin, args::Data, code},
    data_dir::DataDir,
};

/// Names the data directory where no argument does.
const DATA_DIR_VARIABLE: &str = "KEYGATE_DATA_DIR";

/// A path with its query, put together from parts that may hold anything.
pub(in crate::cli) struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// Of segments below `/v1`.
    pub(in crate::cli) fn of(segments: &[&str]) -> Self {
        let mut text = "/v1".to_owned();
        for segment in segments {
            text.push('/');
            escape(&mut text, segment);
        }
        Self { text, has_query: false }
    }

    /// With one more pair in the query, if there is a value.
    pub(super) fn with<T: ToString>(mut self, name: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.text.push(if self.has_query { '&' } else { '?' });
            self.has_query = true;
            self.text.push_str(name);
            self.text.push('=');
            escape(&mut self.text, &value.to_string());
        }
        self
    }
}

/// RFC 3986 §2.3: what is not unreserved is escaped.
fn escape(text: &mut String, raw: &str) {
    for octet in raw.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            text.push(char::from(octet));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{octet:02X}");
        }
    }
}

impl Via {
    /// Gets what is at a path.
    pub(in crate::cli) fn get(&self, path: Path) -> Result<Value, Failure> {
        self.ask("GET", path, None)
    }

    /// Gets what is at a path, from a server: what only a server does is not looked for in the data directory of one that has ended.
    pub(super) fn get_from_server(&self, path: Path) -> Result<Value, Failure> {
        if self.server.is_none() && !admin::is_served(&DataDir::open(&self.data()?.data_dir)?.admin_socket()) {
            return Err(Failure::new(code::FAILED, "the server has ended\nhint: it goes on with this when it is started again"));
        }
        self.get(path)
    }

    /// Asks for an act.
    pub(in crate::cli) fn post(&self, path: Path, body: Value) -> Result<Value, Failure> {
        self.ask("POST", path, Some(body))
    }

    /// Asks for a file, the octets of which go to `take` as they come; the report of it, as text. From a gateway elsewhere only.
    pub(in crate::cli) fn fetch(&self, server: &str, path: Path, body: Value, take: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<Option<Value>, Failure> {
        let path = path.with("organisation", self.organisation.as_deref()).text;
        self.check_server()?;
        let request = LocalRequest { method: "POST".into(), path, if_match: None, body: Some(body) };
        let Some(report) = remote::fetch(self, server, &request, take)? else { return Ok(None) };
        let Some(report) = report.strip_prefix("/v1/") else { return Ok(None) };
        let segments: Vec<&str> = report.split('/').collect();
        self.get(Path::of(&segments)).map(Some)
    }

    /// Asks for a change.
    pub(super) fn patch(&self, path: Path, body: Value) -> Result<Value, Failure> {
        self.ask("PATCH", path, Some(body))
    }

    /// Asks for an end.
    pub(super) fn delete(&self, path: Path) -> Result<Value, Failure> {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: Path, body: Option<Value>) -> Result<Value, Failure> {
        let path = path.with("organisation", self.organisation.as_deref()).text;
        let request = LocalRequest { method: method.into(), path, if_match: None, body };
        let answer = self.answer(request)?;
        if (200..300).contains(&answer.status) { Ok(answer.body) } else { Err(refused(&answer)) }
    }

    fn answer(&self, request: LocalRequest) -> Result<LocalAnswer, Failure> {
        if let Some(server) = &self.server {
            self.check_server()?;
            return remote::answer(self, server, &request);
        }
        match admin::send(&self.data()?, AdminRequest::Api(request))? {
            AdminReply::Api(answer) => Ok(answer),
            _ => Err(Failure::new(code::FAILED, "the server answered something else")),
        }
    }

    fn check_server(&self) -> Result<(), Failure> {
        if self.passphrase.is_given() {
            return Err(Failure::new(code::USAGE, "--server takes no passphrase: the gateway there opened its own seal"));
        }
        Ok(())
    }

    /// The data directory, where no gateway elsewhere is meant.
    pub(in crate::cli) fn data(&self) -> Result<Data, Failure> {
        let variable = || std::env::var_os(DATA_DIR_VARIABLE).filter(|value| !value.is_empty()).map(Into::into);
        let missing = || Failure::new(code::USAGE, format!("give --data-dir D, or --server, or set {DATA_DIR_VARIABLE}"));
        let data_dir = self.data_dir.clone().or_else(variable).ok_or_else(missing)?;
        Ok(Data { data_dir, passphrase: self.passphrase.clone(), json: self.json })
    }
}

/// RFC 9457: what is wrong this time is its detail.
pub(super) fn refused(answer: &LocalAnswer) -> Failure {
    let detail = answer.body["detail"].as_str().or(answer.body["title"].as_str()).unwrap_or("the server refuses");
    let class = match (answer.status, answer.body["code"].as_str()) {
        (404, _) | (_, Some("name-taken")) => code::NAME,
        (400 | 415 | 422, _) => code::USAGE,
        _ => code::FAILED,
    };
    Failure::new(class, detail)
}

/// Without what is null: an absent field says nothing.
pub(super) fn given(body: Value) -> Value {
    match body {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names with blanks, slashes and letters of other scripts stay one segment or value.
    #[test]
    fn paths_are_escaped() {
        let path = Path::of(&["provisioning-keys", "a b/ö"]).with("organisation", Some("x&y")).with("after", None::<&str>);
        assert_eq!(path.with("limit", Some(5)).text, "/v1/provisioning-keys/a%20b%2F%C3%B6?organisation=x%26y&limit=5");
    }
}
