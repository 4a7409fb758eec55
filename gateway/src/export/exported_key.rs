//! One key of `keys.json`, as it is written and read. Nothing here knows objects: the fuzzer compiles this file alone.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// `format` of the document.
pub const FORMAT: &str = "keygate-keys";
/// `version` of the document.
pub const FORMAT_VERSION: u32 = 1;

/// One key, or another object. No `Debug`: it holds the key. Wiped when dropped.
#[derive(Serialize, Deserialize)]
pub struct ExportedKey {
    /// Unique Identifier in the store it came from.
    pub id: String,
    /// KMIP Object Type.
    pub object_type: String,
    /// Cryptographic Algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Cryptographic Length, bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<i32>,
    /// State.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The client that owns it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// What `material` is: `raw`, `pkcs8`, `spki` or `x509`; absent with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The key in a form that any program reads, base64; absent where there is none, as of a wrapped key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub material: Option<String>,
    /// The attributes in words: name, index, value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<serde_json::Value>,
    /// The object as KMIP TTLV, base64: what an import reads.
    pub object_ttlv: String,
    /// The attributes as KMIP TTLV, base64.
    pub attributes_ttlv: String,
}

impl Drop for ExportedKey {
    fn drop(&mut self) {
        self.object_ttlv.zeroize();
        self.material.zeroize();
    }
}
