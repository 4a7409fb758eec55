//! Templates: JSON with `{variable}` in its strings, and paths with `{variable}` in their segments.
//!
//! A string that is one variable becomes the variable's value with its type; a variable inside a longer string must be
//! text. Values are put in as JSON values, so nothing in them can end a string or begin a field. A field whose value
//! is a variable that has none is left out. In paths every octet that is not unreserved is percent-encoded.

use crate::error::{Class, KsError, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Values by variable. `Null` stands for "there is none".
pub(super) type Values = BTreeMap<String, Value>;

/// A template with its values. `Null` if it is one variable without a value.
pub(super) fn fill(template: &Value, values: &Values) -> Result<Value> {
    Ok(match template {
        Value::String(text) => fill_text(text, values)?,
        Value::Array(list) => {
            let filled: Result<Vec<_>> = list.iter().map(|item| fill(item, values)).collect();
            Value::Array(filled?.into_iter().filter(|item| !item.is_null()).collect())
        }
        Value::Object(fields) => {
            let mut filled = serde_json::Map::new();
            for (name, field) in fields {
                let value = fill(field, values)?;
                if !value.is_null() {
                    filled.insert(name.clone(), value);
                }
            }
            Value::Object(filled)
        }
        other => other.clone(),
    })
}

fn fill_text(text: &str, values: &Values) -> Result<Value> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|name| is_name(name)) {
        return Ok(values.get(name).cloned().unwrap_or(Value::Null));
    }
    replace(text, |name, out| {
        let value = values.get(name).and_then(Value::as_str).ok_or_else(|| missing(name))?;
        out.push_str(value);
        Ok(())
    })
    .map(Value::String)
}

/// A path with its values.
pub(super) fn fill_path(path: &str, values: &Values) -> Result<String> {
    replace(path, |name, out| {
        match values.get(name) {
            Some(Value::String(text)) => encode(text, out),
            Some(Value::Number(number)) => encode(&number.to_string(), out),
            _ => return Err(missing(name)),
        }
        Ok(())
    })
}

/// RFC 3986 §2.3: unreserved characters are "ALPHA / DIGIT / "-" / "." / "_" / "~"".
fn encode(text: &str, out: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            // Writing into a string does not fail.
            let _ = write!(out, "%{octet:02X}");
        }
    }
}

/// The variables that a template mentions.
pub(super) fn names_in(template: &Value, names: &mut Vec<String>) {
    match template {
        Value::String(text) => {
            let noted = replace(text, |name, _| {
                names.push(name.to_owned());
                Ok(())
            });
            debug_assert!(noted.is_ok(), "noting a name does not fail");
        }
        Value::Array(list) => list.iter().for_each(|item| names_in(item, names)),
        Value::Object(fields) => fields.values().for_each(|field| names_in(field, names)),
        _ => {}
    }
}

fn replace(text: &str, mut put: impl FnMut(&str, &mut String) -> Result<()>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}') {
            Some((name, behind)) if is_name(name) => {
                put(name, &mut out)?;
                rest = behind;
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}

fn missing(name: &str) -> KsError {
    KsError::new(Class::Unsupported, format!("the profile uses {{{name}}} where it has no text value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_keep_their_type_and_cannot_break_out() {
        let values = Values::from([
            ("name".into(), json!("x\",\"admin\":true,\"y\":\"")),
            ("bits".into(), json!(256)),
            ("aad".into(), Value::Null),
            ("hash".into(), json!("SHA256")),
        ]);
        let template = json!({"name": "{name}", "size": "{bits}", "aad": "{aad}", "how": "{hash}_WITH_RSA", "plain": "{Not a name}"});
        let filled = fill(&template, &values).expect("fills");
        assert_eq!(
            filled,
            json!({"name": "x\",\"admin\":true,\"y\":\"", "size": 256, "how": "SHA256_WITH_RSA", "plain": "{Not a name}"})
        );
        assert_eq!(serde_json::from_str::<Value>(&filled.to_string()).expect("JSON"), filled);
    }

    #[test]
    fn paths_are_encoded() {
        let values = Values::from([("name".into(), json!("../a b?c=d/é"))]);
        assert_eq!(
            fill_path("/keys/{name}?type=name", &values).expect("fills"),
            "/keys/..%2Fa%20b%3Fc%3Dd%2F%C3%A9?type=name"
        );
        assert!(fill_path("/keys/{other}", &values).is_err());
    }
}
