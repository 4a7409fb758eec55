//! `keys.json`: one document, written key by key.
//!
//! ```text
//! { "format": "keygate-keys", "version": 1, "organisation": "...", "exported": RFC 3339,
//!   "keys": [ ExportedKey, ... ],
//!   "left_out": [ { "id", "object_type", "reason" }, ... ] }
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Attribute, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, ObjectType, xml::ValueText};
use zeroize::Zeroizing;

use super::ExportedKey;
use crate::object::{Object, key_block};

impl ExportedKey {
    /// Of an object and its value.
    pub fn new(object: &Object, held: &ManagedObject, owner: String) -> Self {
        let names = object.attributes.iter().filter_map(|instance| match &instance.attribute {
            Attribute::Name(name) => Some(name.value.clone()),
            _ => None,
        });
        let portable = portable(object, held);
        Self {
            id: object.id.to_string(),
            object_type: object.object_type.to_string(),
            algorithm: object.attributes.cryptographic_algorithm().map(|algorithm| algorithm.to_string()),
            length: object.attributes.cryptographic_length(),
            state: object.has_state().then(|| object.lifecycle.to_kmip().to_string()),
            names: names.collect(),
            owner,
            format: portable.as_ref().map(|(format, _)| (*format).to_owned()),
            material: portable.map(|(_, octets)| STANDARD.encode(&*octets)),
            attributes: object.all_attributes().map(|instance| described(&instance)).collect(),
            object_ttlv: STANDARD.encode(&*held.to_stored_bytes()),
            attributes_ttlv: STANDARD.encode(object.attributes.to_stored_bytes()),
        }
    }
}

/// The value in the form of its kind that every program reads.
fn portable(object: &Object, held: &ManagedObject) -> Option<(&'static str, Zeroizing<Vec<u8>>)> {
    let (name, format) = match held {
        ManagedObject::Certificate(certificate) => return Some(("x509", Zeroizing::new(certificate.value.clone()))),
        ManagedObject::OpaqueObject(opaque) => {
            return Some(("raw", Zeroizing::new(opaque.value.expose_bytes().to_vec())));
        }
        ManagedObject::SymmetricKey(_) | ManagedObject::SecretData(_) => ("raw", KeyFormatType::Raw),
        ManagedObject::PrivateKey(_) => ("pkcs8", KeyFormatType::Pkcs8),
        ManagedObject::PublicKey(_) => ("spki", KeyFormatType::X509),
        _ => return None,
    };
    let block = held.key_block().filter(|block| block.key_wrapping_data.is_none())?;
    let converted = if object.object_type == ObjectType::SecretData || block.key_format_type == format {
        held.clone()
    } else {
        key_block::convert(held.clone(), format, &object.attributes).ok()?
    };
    match converted.key_block()?.key_value.as_ref()? {
        KeyValue::Plain { material: KeyMaterial::Bytes(octets), .. } => {
            Some((name, Zeroizing::new(octets.expose_bytes().to_vec())))
        }
        _ => None,
    }
}

fn described(instance: &keygate_kmip::AttributeInstance) -> serde_json::Value {
    let name = instance.attribute.name().to_text();
    let value = value_of(ValueText::of(&instance.attribute));
    serde_json::json!({ "name": name, "index": instance.index.unwrap_or(0), "value": value })
}

fn value_of(text: ValueText) -> serde_json::Value {
    match text {
        ValueText::Text(text) => text.into(),
        ValueText::Fields(fields) => serde_json::Value::Array(
            fields.into_iter().map(|(name, value)| serde_json::json!({ name: value_of(value) })).collect(),
        ),
    }
}
