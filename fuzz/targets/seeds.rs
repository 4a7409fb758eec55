//! Writes the seeds of the other targets: `seeds FOLDER`.

mod pki_seeds;

use std::path::Path;

use keygate_kmip::ttlv::Limits;
use keygate_kmip::{json, samples, xml};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    let folder = Path::new(&folder);
    for name in ["message", "stored", "xml", "json"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    for (number, seed) in samples::seeds().iter().enumerate() {
        // 42 00 78 and 42 00 7B begin a request and a response; the rest are stored forms.
        let target = if matches!(seed[2], 0x78 | 0x7B) { "message" } else { "stored" };
        std::fs::write(folder.join(target).join(format!("seed-{number}")), seed)?;
        if let Ok(text) = xml::write(seed, &Limits::default(), xml::Masking::None) {
            std::fs::write(folder.join("xml").join(format!("seed-{number}")), text.as_bytes())?;
        }
        if let Ok(text) = json::write(seed, &Limits::default()) {
            std::fs::write(folder.join("json").join(format!("seed-{number}")), text.as_bytes())?;
        }
    }
    let keys = folder.join("keys_json");
    std::fs::create_dir_all(&keys)?;
    std::fs::write(keys.join("seed-0"), KEYS_JSON)?;
    pki_seeds::write(folder)
}

/// A document of one key and one that was left out.
const KEYS_JSON: &str = r#"{"format":"keygate-keys","version":1,"organisation":"default","exported":"2026-11-22T00:00:00Z","keys":[
{"id":"0193-1","object_type":"SymmetricKey","algorithm":"AES","length":256,"state":"Active","names":["a"],"owner":"first","format":"raw",
"material":"AAAA","attributes":[{"name":"Name","index":0,"value":"a"}],"object_ttlv":"QgB4","attributes_ttlv":""}],
"left_out":[{"id":"2","object_type":"PrivateKey","reason":"it is sensitive"}]}
"#;
