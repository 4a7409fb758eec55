//! Which names a provisioning key may enrol: a small pattern, parsed once, matched in bounded time.

use std::{fmt, str::FromStr};

/// A pattern of names, such as `*.devices.example` or `printer-*`.
///
/// `*` stands for any run of characters without a dot (none included), `**` for any run. Everything else stands for
/// itself, without regard to case. The whole name must match. Matching takes at most pattern length times name length
/// steps: no pattern and no name make it slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `*`
    Label,
    /// `**`
    Names,
    One(char),
}

/// Why a text is no [`NamePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamePatternError {
    /// A character that no name has.
    #[error("name pattern has {0:?}: letters, digits, spaces and -_.:@* are allowed")]
    Character(char),
    /// Empty, or longer than a name can be.
    #[error("name pattern must have 1 to {max} characters, it has {chars}")]
    Length {
        /// Characters given.
        chars: usize,
        /// Characters allowed.
        max: usize,
    },
    /// Three or more stars in a row.
    #[error("name pattern has three stars in a row: * stands for a label, ** for any names")]
    Stars,
}

/// Most characters of a pattern: those of the longest DNS name.
pub const NAME_PATTERN_CHARS_MAX: usize = 253;

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        let chars = text.chars().count();
        if chars == 0 || chars > NAME_PATTERN_CHARS_MAX {
            return Err(NamePatternError::Length { chars, max: NAME_PATTERN_CHARS_MAX });
        }
        if let Some(bad) = text.chars().find(|char| !(char.is_alphanumeric() || " -_.:@*".contains(*char))) {
            return Err(NamePatternError::Character(bad));
        }
        if text.contains("***") {
            return Err(NamePatternError::Stars);
        }
        let mut parts = Vec::with_capacity(chars);
        for char in text.chars().flat_map(char::to_lowercase) {
            match (char, parts.last_mut()) {
                ('*', Some(last @ Part::Label)) => *last = Part::Names,
                ('*', _) => parts.push(Part::Label),
                (char, _) => parts.push(Part::One(char)),
            }
        }
        Ok(Self { text: text.into(), parts })
    }
}

impl NamePattern {
    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        // reached[i]: the first i parts match what was read of the name so far.
        let mut reached = vec![false; self.parts.len() + 1];
        reached[0] = true;
        self.pass_stars(&mut reached);
        for char in name.chars().flat_map(char::to_lowercase) {
            let mut next = vec![false; reached.len()];
            for (index, part) in self.parts.iter().enumerate().filter(|(index, _)| reached[*index]) {
                match part {
                    Part::One(wanted) => next[index + 1] |= *wanted == char,
                    Part::Label => next[index] |= char != '.',
                    Part::Names => next[index] = true,
                }
            }
            self.pass_stars(&mut next);
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }

    /// A star also stands for nothing.
    fn pass_stars(&self, reached: &mut [bool]) {
        for (index, part) in self.parts.iter().enumerate() {
            if reached[index] && matches!(part, Part::Label | Part::Names) {
                reached[index + 1] = true;
            }
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn stars_stop_at_dots_and_double_stars_do_not() {
        for (text, good, bad) in [
            (
                "*.devices.example",
                &["a.devices.example", "B-1.Devices.Example", ".devices.example"][..],
                &["a.b.devices.example", "a.devices.example.org", "devices.example"][..],
            ),
            ("**.example", &["a.example", "a.b.example"], &["example", "a.example.org"]),
            ("printer-*", &["printer-", "printer-7"], &["printer-7.example", "xprinter-7"]),
            ("192.0.2.*", &["192.0.2.7"], &["192.0.20.7"]),
            ("2001:db8:*", &["2001:db8::1"], &["2001:db9::1"]),
            ("exact", &["exact", "EXACT"], &["exactly", "", "exac"]),
            ("**", &["", "anything at all. really"], &[]),
        ] {
            good.iter().for_each(|name| assert!(pattern(text).matches(name), "{text} {name}"));
            bad.iter().for_each(|name| assert!(!pattern(text).matches(name), "{text} {name}"));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!("a/b".parse::<NamePattern>(), Err(NamePatternError::Character('/')));
        assert_eq!("***".parse::<NamePattern>(), Err(NamePatternError::Stars));
        for bad in ["", &"a".repeat(254)] {
            assert!(matches!(bad.parse::<NamePattern>(), Err(NamePatternError::Length { .. })));
        }
    }

    /// The pattern that makes backtracking matchers hang is answered at once.
    #[test]
    fn many_stars_are_matched_in_bounded_time() {
        let hard = pattern(&"*a".repeat(126));
        let started = std::time::Instant::now();
        assert!(!hard.matches(&format!("{}b", "a".repeat(252))));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }

    proptest! {
        /// Whatever is put for each star, the name matches; with a character more that nothing stands for, it does not.
        #[test]
        fn a_name_made_from_its_pattern_matches(pieces in proptest::collection::vec("[a-z0-9-]{0,6}", 1..6), fill in "[A-Z0-9]{0,5}") {
            let text = pieces.join("*");
            prop_assume!(!text.is_empty() && !text.contains("**"));
            let pattern = pattern(&text);
            let made = pieces.join(&fill);
            prop_assert!(pattern.matches(&made));
            prop_assert!(!pattern.matches(&(made.clone() + ".")));
            let end = made.clone() + "!";
            prop_assert_eq!(pattern.matches(&end), text.ends_with('*'));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}", name in "\\PC{0,40}") {
            if let Ok(pattern) = text.parse::<NamePattern>() {
                pattern.matches(&name);
            }
        }
    }
}
