//! Which token of a module is meant.

use super::raw::TokenInfo;
use crate::error::{Class, KsError, Result};
use cryptoki_sys as ck;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a token must be. Every part that is given must fit; exactly one token may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSelector {
    /// Its label.
    pub label: Option<String>,
    /// Its serial number; once a token was seen, its serial number is kept to.
    pub serial: Option<String>,
    /// Its manufacturer's name.
    pub manufacturer: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// The slot's id (C_GetSlotList's value). Many modules give a token another slot after each start.
    pub slot_id: Option<u64>,
    /// The slot's place in the list of all slots, with a token or without, from 0.
    pub slot_index: Option<usize>,
}

impl TokenSelector {
    /// The token of this label.
    pub fn label(label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..Self::default() }
    }

    /// Whether nothing is asked of the token: any would do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The one slot whose token fits, among the slots in the module's order; all of them where a place is asked for.
    pub(super) fn choose(
        &self,
        slots: impl Iterator<Item = (ck::CK_SLOT_ID, Option<TokenInfo>)>,
    ) -> Result<(ck::CK_SLOT_ID, TokenInfo)> {
        let mut found = None;
        for (index, (slot, info)) in slots.enumerate() {
            // A slot whose token cannot be read is not the one.
            let Some(info) = info else { continue };
            let fits = self.slot_id.is_none_or(|id| id == slot)
                && self.slot_index.is_none_or(|wanted| wanted == index)
                && is(&self.label, &info.label)
                && is(&self.serial, &info.serial)
                && is(&self.manufacturer, &info.manufacturer)
                && is(&self.model, &info.model)
                && info.flags & ck::CKF_TOKEN_INITIALIZED != 0;
            if fits && found.replace((slot, info)).is_some() {
                return Err(KsError::new(
                    Class::TokenLost,
                    format!("more than one token is {self}: configure its serial number"),
                ));
            }
        }
        found.ok_or_else(|| KsError::new(Class::TokenLost, format!("no slot of the module holds a token {self}")))
    }
}

fn is(wanted: &Option<String>, found: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == found)
}

impl fmt::Display for TokenSelector {
    /// As a message goes on after "token".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("labelled", &self.label),
            ("of serial number", &self.serial),
            ("of manufacturer", &self.manufacturer),
            ("of model", &self.model),
        ];
        let texts = texts.into_iter().filter_map(|(word, value)| value.as_ref().map(|value| format!("{word} {value:?}")));
        let id = self.slot_id.map(|id| format!("in slot {id}"));
        let index = self.slot_index.map(|index| format!("in slot number {index} of the list"));
        let parts: Vec<String> = texts.chain(id).chain(index).collect();
        f.write_str(if parts.is_empty() { "of any kind".to_owned() } else { parts.join(", ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(label: &str, serial: &str) -> TokenInfo {
        TokenInfo {
            label: label.into(),
            manufacturer: "maker".into(),
            model: "model".into(),
            serial: serial.into(),
            flags: ck::CKF_TOKEN_INITIALIZED,
            firmware: (1, 0),
        }
    }

    fn choose(selector: &TokenSelector) -> Result<u64> {
        let slots = [(7, Some(token("a", "1"))), (8, None), (9, Some(token("a", "2"))), (4, Some(token("b", "3")))];
        selector.choose(slots.into_iter()).map(|(slot, _)| slot)
    }

    /// Each part alone finds its token, two parts must both fit, and two tokens that fit are none.
    #[test]
    fn one_token_fits() {
        let any = TokenSelector::default;
        assert_eq!(choose(&TokenSelector::label("b")).expect("one"), 4);
        assert_eq!(choose(&TokenSelector { serial: Some("2".into()), ..any() }).expect("one"), 9);
        assert_eq!(choose(&TokenSelector { slot_id: Some(7), ..any() }).expect("one"), 7);
        assert_eq!(choose(&TokenSelector { slot_index: Some(2), ..any() }).expect("one"), 9);
        let both = TokenSelector { slot_id: Some(7), ..TokenSelector::label("b") };
        let error = choose(&both).expect_err("no such token");
        assert_eq!(error.text(), "no slot of the module holds a token labelled \"b\", in slot 7");
        assert!(choose(&TokenSelector { slot_index: Some(1), ..any() }).is_err(), "that slot cannot be read");
        let error = choose(&TokenSelector::label("a")).expect_err("two");
        assert!(error.text().contains("more than one token is labelled \"a\""), "{error}");
    }
}
