//! A text under construction that may hold key material.

use std::fmt;

use zeroize::Zeroizing;

/// A growing text, wiped when it is dropped and when it grows.
#[derive(Default)]
pub(crate) struct TextBuffer {
    text: Zeroizing<String>,
}

impl TextBuffer {
    pub(crate) fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        let needed = self.text.len() + text.len();
        if needed > self.text.capacity() {
            let mut larger = String::with_capacity(needed.max(self.text.capacity() * 2).max(512));
            larger.push_str(&self.text);
            // The old buffer is wiped by the drop of its `Zeroizing`.
            self.text = Zeroizing::new(larger);
        }
        self.text.push_str(text);
    }

    pub(crate) fn into_text(self) -> Zeroizing<String> {
        self.text
    }
}

impl fmt::Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl fmt::Debug for TextBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextBuffer({} bytes)", self.text.len())
    }
}
