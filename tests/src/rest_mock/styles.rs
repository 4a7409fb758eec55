//! Paths, bodies and answers of each style.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_backends::{SignInput, SignatureScheme, local};
use keygate_kmip::RecommendedCurve;
use serde_json::{Value, json};

use super::http::Request;
use super::keys::{self, BAD_FIELD, Keys, NO_KEY, Refusal, Wanted, decode, encode};
use super::{Accepts, USER};

/// Whose interface it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The contract of `eskm-style`.
    Eskm,
    /// `ciphertrust`.
    CipherTrust,
    /// `securosys`.
    Securosys,
}

/// Status and body.
pub(super) fn answer(style: Style, accepts: &Accepts, keys: &mut Keys, request: &Request) -> (u16, Value) {
    let (password, token) = (&accepts.password, format!("token-of-login-{}", accepts.login));
    let authorized = match style {
        Style::Eskm => request.authorization == format!("Basic {}", STANDARD.encode(format!("{USER}:{password}"))),
        Style::CipherTrust => {
            request.path == "/api/v1/auth/tokens" || request.authorization == format!("Bearer {token}")
        }
        Style::Securosys => request.authorization == format!("Bearer {password}"),
    };
    if !authorized {
        return (401, json!({"reason": "AUTHENTICATION_NOT_SUCCESSFUL", "message": "who is it?"}));
    }
    let done = match style {
        Style::Eskm => eskm(keys, request),
        Style::CipherTrust => ciphertrust(keys, request, password, &token),
        Style::Securosys => securosys(keys, request),
    };
    done.map_or_else(|(status, reason)| (status, json!({"reason": reason, "message": "refused"})), |body| (200, body))
}

fn text<'a>(body: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    body.get(field).and_then(Value::as_str).ok_or(BAD_FIELD)
}

fn bits(body: &Value, field: &str) -> u32 {
    body.get(field).and_then(Value::as_u64).and_then(|bits| u32::try_from(bits).ok()).unwrap_or_default()
}

fn segments(path: &str) -> (Vec<&str>, &str) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    (path.split('/').skip(1).collect(), query)
}

fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

/// A page of a group's keys.
fn page(keys: &Keys, group: &str, offset: &str, limit: &str) -> Vec<Value> {
    let (offset, limit) = (offset.parse().unwrap_or(0), limit.parse().unwrap_or(10));
    let listed = keys.of_group(group).skip(offset).take(limit);
    listed.map(|(name, key)| json!({"name": name, "algorithm": key.algorithm})).collect()
}

fn eskm(keys: &mut Keys, request: &Request) -> Result<Value, Refusal> {
    let body = &request.body;
    let (path, query) = segments(&request.path);
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["api", "key", "v1", "keys"]) => {
            let name = text(body, "name")?;
            let curve = match body.get("curve").and_then(Value::as_str) {
                Some("P-256") => Some(RecommendedCurve::P256),
                Some("P-384") => Some(RecommendedCurve::P384),
                Some("P-521") => Some(RecommendedCurve::P521),
                _ => None,
            };
            let material = body.get("material").map(decode).transpose()?;
            let key = keys.make(Wanted {
                name,
                algorithm: text(body, "algorithm")?,
                bits: bits(body, "length"),
                curve,
                material,
                group: text(body, "group")?,
                is_exportable: body["exportable"] == true,
            })?;
            Ok(json!({"name": name, "version": 1, "state": "ACTIVE", "publicKeyValue": key.public()}))
        }
        ("GET", ["api", "key", "v1", "keys"]) => {
            let listed = page(keys, parameter(query, "group"), parameter(query, "offset"), parameter(query, "limit"));
            Ok(json!({"keys": listed}))
        }
        ("GET", ["api", "key", "v1", "keys", name]) => {
            Ok(json!({"name": name, "state": "ACTIVE", "publicKeyValue": keys.find(name)?.public()}))
        }
        ("POST", ["api", "key", "v1", "keys", name, "export"]) => {
            let key = keys.find(name)?;
            if !key.is_exportable {
                return Err((403, "NOT_EXTRACTABLE"));
            }
            Ok(json!({"name": name, "material": key.value()}))
        }
        ("POST", ["api", "key", "v1", "keys", name, "state"]) => keys.retire(name).map(|()| json!({"name": name})),
        ("DELETE", ["api", "key", "v1", "keys", name]) => {
            if !keys.find(name)?.is_retired {
                return Err((403, "PERMISSION_DENIED"));
            }
            keys.remove(name).map(|()| Value::Null)
        }
        ("POST", ["api", "crypto", "v1", "random"]) => random(body.get("length").and_then(Value::as_u64), "data"),
        ("POST", ["api", "crypto", "v1", use_of]) => {
            let name = text(body, "key")?;
            let key = keys.find(name)?;
            let hash = |field: &str| body.get(field).and_then(Value::as_str).and_then(keys::hash);
            let scheme = || {
                // The client pads.
                if matches!(text(body, "mode")?, "CBC" | "ECB") && text(body, "padding")? != "NONE" {
                    return Err(BAD_FIELD);
                }
                keys::scheme(
                    text(body, "mode")?,
                    body.get("tagLength").and_then(Value::as_u64),
                    (hash("hash"), hash("mgfHash")),
                )
            };
            let (iv, aad) = (decode(&body["iv"])?, decode(&body["aad"])?);
            match *use_of {
                "encrypt" => {
                    let (data, tag) = key.encrypt(&scheme()?, &iv, &aad, &decode(&body["data"])?)?;
                    Ok(
                        json!({"name": name, "data": encode(&data), "iv": body["iv"], "tag": tag.map(|tag| encode(&tag))}),
                    )
                }
                "decrypt" => {
                    let tag = body.get("tag").map(decode).transpose()?;
                    let plain = key.decrypt(&scheme()?, &iv, &aad, &decode(&body["data"])?, tag.as_deref())?;
                    Ok(json!({"name": name, "data": encode(&plain)}))
                }
                "sign" => {
                    let salt_len =
                        body.get("saltLength").and_then(Value::as_u64).and_then(|len| usize::try_from(len).ok());
                    let named = match (key.algorithm.as_str(), body.get("padding").and_then(Value::as_str)) {
                        ("EC", None) => "ECDSA",
                        ("RSA", Some("PKCS1")) => "RSASSA-PKCS1",
                        ("RSA", Some("PSS")) => "RSASSA-PSS",
                        _ => return Err(BAD_FIELD),
                    };
                    let scheme = signature(named, hash("hash").ok_or(BAD_FIELD)?, hash("mgfHash"), salt_len)?;
                    Ok(
                        json!({"name": name, "signature": encode(&key.sign(scheme, SignInput::Digest(&decode(&body["digest"])?))?)}),
                    )
                }
                "mac" => Ok(
                    json!({"name": name, "mac": encode(&key.mac(hash("hash").ok_or(BAD_FIELD)?, &decode(&body["data"])?)?)}),
                ),
                _ => Err((404, "OPERATION_NOT_SUPPORTED")),
            }
        }
        _ => Err((404, "OPERATION_NOT_SUPPORTED")),
    }
}

fn signature(
    scheme: &str,
    hash: keygate_kmip::HashingAlgorithm,
    mgf_hash: Option<keygate_kmip::HashingAlgorithm>,
    salt_len: Option<usize>,
) -> Result<SignatureScheme, Refusal> {
    Ok(match scheme {
        "RSASSA-PKCS1" => SignatureScheme::RsaPkcs1(hash),
        "RSASSA-PSS" => SignatureScheme::RsaPss { hash, mgf_hash: mgf_hash.unwrap_or(hash), salt_len },
        "ECDSA" => SignatureScheme::Ecdsa(hash),
        _ => return Err((400, "FEATURE_NOT_SUPPORTED")),
    })
}

fn random(length: Option<u64>, field: &str) -> Result<Value, Refusal> {
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(BAD_FIELD)?;
    Ok(json!({field: encode(local::random(length).map_err(keys::refusal)?.expose())}))
}

fn ciphertrust(keys: &mut Keys, request: &Request, password: &str, token: &str) -> Result<Value, Refusal> {
    let body = &request.body;
    let (path, query) = segments(&request.path);
    let path = path.strip_prefix(&["api", "v1"]).ok_or(NO_KEY)?;
    match (request.method.as_str(), path) {
        ("POST", ["auth", "tokens"]) => {
            let is_right = body["grant_type"] == "password" && body["username"] == USER && body["password"] == password;
            if is_right { Ok(json!({"jwt": token, "duration": 300})) } else { Err((401, "NCERRAuthenticationFailed")) }
        }
        ("POST", ["vault", "keys2"]) => {
            let name = text(body, "name")?;
            let material = body.get("material").map(decode).transpose()?;
            keys.make(Wanted {
                name,
                algorithm: text(body, "algorithm")?,
                bits: bits(body, "size"),
                curve: None,
                material,
                group: body.pointer("/labels/keystore").and_then(Value::as_str).unwrap_or_default(),
                is_exportable: true,
            })?;
            Ok(json!({"id": "0123", "name": name, "state": "Active"}))
        }
        ("GET", ["vault", "keys2"]) => {
            let group = parameter(query, "labels").trim_start_matches("keystore%3D");
            Ok(json!({"resources": page(keys, group, parameter(query, "skip"), parameter(query, "limit"))}))
        }
        ("GET", ["vault", "keys2", name]) if query == "type=name" => keys.find(name).map(|_| json!({"name": name})),
        ("POST", ["vault", "keys2", name, "export"]) => Ok(json!({"name": name, "material": keys.find(name)?.value()})),
        ("DELETE", ["vault", "keys2", name]) => keys.remove(name).map(|()| Value::Null),
        ("POST", ["crypto", use_of]) => {
            let key = keys.find(text(body, "id")?)?;
            let scheme = keys::scheme(text(body, "mode")?, None, (None, None))?;
            let (iv, aad) = (decode(&body["iv"])?, decode(&body["aad"])?);
            if *use_of == "encrypt" {
                let (data, tag) = key.encrypt(&scheme, &iv, &aad, &decode(&body["plaintext"])?)?;
                return Ok(json!({"ciphertext": encode(&data), "iv": body["iv"], "tag": tag.map(|tag| encode(&tag))}));
            }
            let tag = body.get("tag").map(decode).transpose()?;
            let plain = key.decrypt(&scheme, &iv, &aad, &decode(&body["ciphertext"])?, tag.as_deref())?;
            Ok(json!({"plaintext": encode(&plain)}))
        }
        _ => Err(NO_KEY),
    }
}

fn securosys(keys: &mut Keys, request: &Request) -> Result<Value, Refusal> {
    let (path, _) = segments(&request.path);
    let body = &request.body;
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "key"]) => {
            let curve = match body.get("curveOid").and_then(Value::as_str) {
                Some("1.2.840.10045.3.1.7") => Some(RecommendedCurve::P256),
                Some("1.3.132.0.34") => Some(RecommendedCurve::P384),
                _ => None,
            };
            keys.make(Wanted {
                name: text(body, "label")?,
                algorithm: text(body, "algorithm")?,
                bits: bits(body, "keySize"),
                curve,
                material: None,
                group: "",
                is_exportable: body.pointer("/attributes/extractable") == Some(&Value::Bool(true)),
            })?;
            Ok(json!({}))
        }
        ("POST", ["v1", "key", "attributes"]) => {
            let label = text(body, "label")?;
            Ok(json!({"json": {"label": label, "publicKey": keys.find(label)?.public()}}))
        }
        ("DELETE", ["v1", "key", name]) => keys.remove(name).map(|()| json!({})),
        ("GET", ["v1", "generateRandom", length]) => random(length.parse().ok(), "randomData"),
        ("POST", ["v1", "encrypt"]) => {
            let body = &body["encryptRequest"];
            let scheme = keys::scheme(
                text(body, "cipherAlgorithm")?,
                body.get("tagLength").and_then(Value::as_u64),
                (None, None),
            )?;
            let (iv, aad) = (decode(&body["initializationVector"])?, decode(&body["additionalAuthenticationData"])?);
            let (data, tag) =
                keys.find(text(body, "encryptKeyName")?)?.encrypt(&scheme, &iv, &aad, &decode(&body["payload"])?)?;
            Ok(json!({
                "encryptedPayload": encode(&data),
                "initializationVector": body["initializationVector"],
                "messageAuthenticationCode": tag.map(|tag| encode(&tag)),
            }))
        }
        ("POST", ["v1", "decrypt"]) => {
            let body = &body["decryptRequest"];
            let scheme = keys::scheme(
                text(body, "cipherAlgorithm")?,
                body.get("tagLength").and_then(Value::as_u64),
                (None, None),
            )?;
            let (iv, aad) = (decode(&body["initializationVector"])?, decode(&body["additionalAuthenticationData"])?);
            let tag = body.get("messageAuthenticationCode").map(decode).transpose()?;
            let key = keys.find(text(body, "decryptKeyName")?)?;
            Ok(
                json!({"payload": encode(&key.decrypt(&scheme, &iv, &aad, &decode(&body["encryptedPayload"])?, tag.as_deref())?)}),
            )
        }
        ("POST", ["v1", "synchronousSign"]) => {
            let body = &body["signRequest"];
            let (hash, scheme) = text(body, "signatureAlgorithm")?.split_once("_WITH_").ok_or(BAD_FIELD)?;
            let scheme = match scheme {
                "RSA" => "RSASSA-PKCS1",
                "RSA_PSS" => "RSASSA-PSS",
                other => other,
            };
            let scheme = signature(scheme, keys::hash(hash).ok_or(BAD_FIELD)?, None, None)?;
            let key = keys.find(text(body, "signKeyName")?)?;
            Ok(json!({"signature": encode(&key.sign(scheme, SignInput::Message(&decode(&body["payload"])?))?)}))
        }
        _ => Err(NO_KEY),
    }
}
