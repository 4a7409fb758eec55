//! Attribute templates that own or borrow their values.

use cryptoki_sys as ck;
use std::borrow::Cow;

/// A list of attributes.
#[derive(Default)]
pub(super) struct Template<'a>(Vec<(ck::CK_ATTRIBUTE_TYPE, Cow<'a, [u8]>)>);

impl<'a> Template<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, kind: ck::CK_ATTRIBUTE_TYPE, value: &'a [u8]) -> Self {
        self.0.push((kind, Cow::Borrowed(value)));
        self
    }

    pub(super) fn flag(self, kind: ck::CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        self.bytes(kind, if value { &[ck::CK_TRUE] } else { &[ck::CK_FALSE] })
    }

    pub(super) fn number(mut self, kind: ck::CK_ATTRIBUTE_TYPE, value: ck::CK_ULONG) -> Self {
        self.0.push((kind, Cow::Owned(value.to_ne_bytes().to_vec())));
        self
    }

    /// The C view; valid as long as `self`. Modules only read through these pointers, whatever the declaration says.
    pub(super) fn attributes(&self) -> Vec<ck::CK_ATTRIBUTE> {
        self.0
            .iter()
            .map(|(kind, value)| ck::CK_ATTRIBUTE {
                type_: *kind,
                pValue: value.as_ptr().cast_mut().cast(),
                ulValueLen: value.len() as ck::CK_ULONG,
            })
            .collect()
    }
}
