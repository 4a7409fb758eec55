//! The name of a provisioning key.

use std::{fmt, str::FromStr};

/// Most characters of a name.
pub const KEY_NAME_CHARS_MAX: usize = 64;

/// A name of 1 to 64 characters: a letter, then letters, digits, spaces and dashes, all ASCII, no space at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// Which rule a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// Empty, or too long.
    #[error("name must have 1 to {max} characters, it has {chars}")]
    Length {
        /// Characters given, without spaces around them.
        chars: usize,
        /// Characters allowed.
        max: usize,
    },
    /// Begins with something else than a letter.
    #[error("name must begin with a letter A to Z, not {0:?}")]
    Start(char),
    /// A character that is not allowed.
    #[error("name has {0:?}: letters A to Z, digits, spaces and dashes are allowed")]
    Character(char),
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let name = text.trim_matches(' ');
        let chars = name.chars().count();
        if chars > KEY_NAME_CHARS_MAX {
            return Err(KeyNameError::Length { chars, max: KEY_NAME_CHARS_MAX });
        }
        match name.chars().next() {
            None => return Err(KeyNameError::Length { chars: 0, max: KEY_NAME_CHARS_MAX }),
            Some(first) if !first.is_ascii_alphabetic() => return Err(KeyNameError::Start(first)),
            Some(_) => {}
        }
        match name.chars().find(|char| !(char.is_ascii_alphanumeric() || *char == ' ' || *char == '-')) {
            Some(bad) => Err(KeyNameError::Character(bad)),
            None => Ok(Self(name.into())),
        }
    }
}

impl KeyName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which names are unique: without regard to case.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_rule_is_named() {
        let parse = |text: &str| text.parse::<KeyName>();
        assert_eq!(parse(" Line 3-b ").map(|name| name.to_string()).as_deref(), Ok("Line 3-b"));
        assert_eq!(parse(&"a".repeat(65)), Err(KeyNameError::Length { chars: 65, max: 64 }));
        assert!(parse(&"a".repeat(64)).is_ok());
        for (bad, error) in [
            ("", KeyNameError::Length { chars: 0, max: 64 }),
            ("  ", KeyNameError::Length { chars: 0, max: 64 }),
            ("3a", KeyNameError::Start('3')),
            ("-a", KeyNameError::Start('-')),
            ("éa", KeyNameError::Start('é')),
            ("a_b", KeyNameError::Character('_')),
            ("a\tb", KeyNameError::Character('\t')),
            ("aı", KeyNameError::Character('ı')),
        ] {
            assert_eq!(parse(bad), Err(error), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn names_of_the_rule_are_taken_and_fold_alike(name in "[A-Za-z]([A-Za-z0-9 -]{0,62}[A-Za-z0-9-])?") {
            let parse = |text: &str| text.parse::<KeyName>();
            let read = parse(&name);
            prop_assert_eq!(read.as_ref().map(KeyName::as_str), Ok(name.as_str()));
            prop_assert_eq!(parse(&name.to_uppercase()).map(|name| name.folded()), parse(&name.to_lowercase()).map(|name| name.folded()));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,80}") {
            if let Ok(name) = text.parse::<KeyName>() {
                prop_assert!(name.as_str().is_ascii() && (1..=64).contains(&name.as_str().len()));
            }
        }
    }
}
