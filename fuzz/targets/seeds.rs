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
    pki_seeds::write(folder)
}
