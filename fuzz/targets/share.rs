//! Shares of a seal, as officers type them. What is read is written and read as the same; one altered character is told.
#![no_main]

#[path = "../../gateway/src/seal/share_text.rs"]
mod share_text;

use share_text::{SHARES_MAX, ShareText};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match ShareText::parse(text) {
        Ok(share) => {
            assert!((1..=SHARES_MAX).contains(&share.number) && (2..=SHARES_MAX).contains(&share.threshold));
            let written = share.write();
            assert!(ShareText::parse(&written) == Ok(share), "what was written is read as something else");
            let last = if written.ends_with('A') { "B" } else { "A" };
            assert!(ShareText::parse(&format!("{}{last}", &written[..written.len() - 1])).is_err());
        }
        Err(error) => assert!(error.to_string().len() < 200),
    }
});
