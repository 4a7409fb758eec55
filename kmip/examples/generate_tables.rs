//! Writes `src/tables/*.rs` from the facts in `tables/*.json`.
//!
//! Run `cargo run -p keygate-kmip --example generate_tables` after a change of the data; the test
//! `tables::tests::generated_files_are_current` fails when it was forgotten.

use std::path::Path;

#[path = "../src/tables/generate.rs"]
mod generate;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in generate::all(&root.join("tables")) {
        std::fs::write(root.join("src/tables").join(name), text)?;
    }
    Ok(())
}
