//! Adjust Attribute's arithmetic on values. KMIP 2.1 §11.1 (Adjustment Type).
//!
//! Which attributes may be adjusted is decided by whoever has the object.

use crate::ttlv::Type;
use crate::{AdjustmentType, AnyValue, BigInteger};

/// Types that an attribute without a value begins at 0, or false, in. KMIP 2.1 §6.1.3: "the previous value is assumed to be a 0 for
/// numeric types and intervals, or false for Boolean, otherwise an error is raised".
pub const ZERO_TYPES: [Type; 5] = [Type::Integer, Type::LongInteger, Type::BigInteger, Type::Interval, Type::Boolean];

/// Longest Big Integer that is adjusted, octets.
const BIG_INTEGER_BYTES_MAX: usize = 4096;

/// Why a value was not adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdjusted {
    /// The adjustment does not apply to this type.
    #[error("the adjustment does not apply to a value of this type")]
    Type,
    /// The Adjustment Value is not of the attribute's type.
    #[error("the Adjustment Value is not of the attribute's type")]
    ValueType,
    /// Negate takes no Adjustment Value.
    #[error("Negate takes no Adjustment Value")]
    NeedlessValue,
    /// The result is beyond what the type holds.
    #[error("the adjusted value is beyond the range of its type")]
    Range,
}

impl AnyValue {
    /// The value 0, or false, of a type; `None` for the types that have none.
    #[must_use]
    pub fn zero(item_type: Type) -> Option<Self> {
        let length = match item_type {
            Type::Integer | Type::Interval => 4,
            Type::LongInteger | Type::Boolean | Type::BigInteger => 8,
            _ => return None,
        };
        Some(Self::of(item_type, vec![0; length]))
    }

    /// The value after an adjustment; without an Adjustment Value it is by 1, in a date by a second.
    ///
    /// # Errors
    /// A type that the adjustment does not apply to, a result that the type does not hold.
    pub fn adjusted(&self, adjustment: AdjustmentType, by: Option<&Self>) -> Result<Self, NotAdjusted> {
        // A date is moved by seconds: a date of its own as the amount, or an Interval.
        let fits = |by: &Self| by.item_type() == self.item_type() || (by.item_type(), self.item_type()) == (Type::Interval, Type::DateTime);
        if by.is_some_and(|by| !fits(by)) {
            return Err(NotAdjusted::ValueType);
        }
        if adjustment == AdjustmentType::Negate && by.is_some() {
            return Err(NotAdjusted::NeedlessValue);
        }
        let item_type = self.item_type();
        match (item_type, adjustment) {
            // "Negate the value. Applies to Integer, Long Integers, Big Integer and Boolean types."
            (Type::Boolean, AdjustmentType::Negate) => {
                let was = self.bytes().last().is_some_and(|octet| *octet != 0);
                Ok(Self::of(item_type, u64::from(!was).to_be_bytes().to_vec()))
            }
            (Type::Interval | Type::DateTime | Type::DateTimeExtended, AdjustmentType::Negate) => Err(NotAdjusted::Type),
            (Type::BigInteger, _) => self.big(adjustment, by),
            // "Applies to Integer, Long Integers, Big Integer, Interval, Date Time, and Date Time Extended."
            (Type::Integer | Type::LongInteger | Type::Interval | Type::DateTime | Type::DateTimeExtended, _) => {
                let by = by.map_or(Ok(1), Self::number)?;
                let value = self.number()?;
                let adjusted = match adjustment {
                    AdjustmentType::Increment => value + by,
                    AdjustmentType::Decrement => value - by,
                    AdjustmentType::Negate => -value,
                    AdjustmentType::Extension(_) => return Err(NotAdjusted::Type),
                };
                Self::of_number(item_type, adjusted)
            }
            _ => Err(NotAdjusted::Type),
        }
    }

    /// The number; sums of two fit as well.
    fn number(&self) -> Result<i128, NotAdjusted> {
        match (self.item_type(), self.bytes()) {
            (Type::Interval, &[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d]).into()),
            (_, &[a, b, c, d]) => Ok(i32::from_be_bytes([a, b, c, d]).into()),
            (_, bytes) => bytes.try_into().map(i64::from_be_bytes).map(i128::from).map_err(|_| NotAdjusted::Type),
        }
    }

    fn of_number(item_type: Type, number: i128) -> Result<Self, NotAdjusted> {
        let bytes = match item_type {
            Type::Interval => u32::try_from(number).map(|number| number.to_be_bytes().to_vec()),
            Type::Integer => i32::try_from(number).map(|number| number.to_be_bytes().to_vec()),
            _ => i64::try_from(number).map(|number| number.to_be_bytes().to_vec()),
        };
        bytes.map(|bytes| Self::of(item_type, bytes)).map_err(|_| NotAdjusted::Range)
    }

    fn big(&self, adjustment: AdjustmentType, by: Option<&Self>) -> Result<Self, NotAdjusted> {
        let by = by.map_or(&[1][..], Self::bytes);
        let length = self.bytes().len().max(by.len()) + 1;
        if length > BIG_INTEGER_BYTES_MAX {
            return Err(NotAdjusted::Range);
        }
        let (value, by) = (extended(self.bytes(), length), extended(by, length));
        let sum = match adjustment {
            AdjustmentType::Increment => added(&value, &by),
            AdjustmentType::Decrement => added(&value, &negated(&by)),
            AdjustmentType::Negate => negated(&value),
            AdjustmentType::Extension(_) => return Err(NotAdjusted::Type),
        };
        Ok(Self::of(Type::BigInteger, padded(BigInteger::from_signed(&sum).expose_bytes())))
    }
}

/// Two's complement at a greater length.
fn extended(bytes: &[u8], length: usize) -> Vec<u8> {
    let sign = if bytes.first().is_some_and(|octet| octet & 0x80 != 0) { 0xFF } else { 0 };
    let mut out = vec![sign; length - bytes.len()];
    out.extend_from_slice(bytes);
    out
}

/// A Big Integer is a multiple of eight octets on the wire (KMIP 2.1 §10.1.4).
fn padded(bytes: &[u8]) -> Vec<u8> {
    extended(bytes, bytes.len().next_multiple_of(8))
}

fn added(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut sum = one.to_vec();
    let mut carry = 0;
    for (octet, other) in sum.iter_mut().zip(other).rev() {
        let total = u16::from(*octet) + u16::from(*other) + carry;
        *octet = total as u8;
        carry = total >> 8;
    }
    sum
}

fn negated(bytes: &[u8]) -> Vec<u8> {
    let complement: Vec<u8> = bytes.iter().map(|octet| !octet).collect();
    added(&complement, &extended(&[1], bytes.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn long(value: i64) -> AnyValue {
        AnyValue::of(Type::LongInteger, value.to_be_bytes().to_vec())
    }

    fn big(value: i64) -> AnyValue {
        AnyValue::of(Type::BigInteger, padded(BigInteger::from_signed(&value.to_be_bytes()).expose_bytes()))
    }

    proptest! {
        /// Long Integers and Big Integers agree with the processor's arithmetic, as far as that goes.
        #[test]
        fn numbers_are_added_and_negated(value: i64, by: i64) {
            for (adjustment, expected) in [
                (AdjustmentType::Increment, value.checked_add(by)),
                (AdjustmentType::Decrement, value.checked_sub(by)),
            ] {
                let adjusted = long(value).adjusted(adjustment, Some(&long(by)));
                prop_assert_eq!(adjusted, expected.map(long).ok_or(NotAdjusted::Range));
                if let Some(expected) = expected {
                    prop_assert_eq!(big(value).adjusted(adjustment, Some(&big(by))), Ok(big(expected)));
                }
            }
            let negated = value.checked_neg();
            prop_assert_eq!(long(value).adjusted(AdjustmentType::Negate, None), negated.map(long).ok_or(NotAdjusted::Range));
        }
    }

    #[test]
    fn what_does_not_apply_is_refused() {
        let text = AnyValue::text("five");
        let interval = AnyValue::zero(Type::Interval).expect("intervals begin at 0");
        assert_eq!(text.adjusted(AdjustmentType::Increment, None), Err(NotAdjusted::Type));
        assert_eq!(interval.adjusted(AdjustmentType::Negate, None), Err(NotAdjusted::Type));
        assert_eq!(interval.adjusted(AdjustmentType::Decrement, None), Err(NotAdjusted::Range));
        assert_eq!(interval.adjusted(AdjustmentType::Increment, Some(&long(1))), Err(NotAdjusted::ValueType));
        assert_eq!(long(1).adjusted(AdjustmentType::Negate, Some(&long(1))), Err(NotAdjusted::NeedlessValue));
        let yes = AnyValue::zero(Type::Boolean).and_then(|no| no.adjusted(AdjustmentType::Negate, None).ok());
        assert_eq!(yes.as_ref().map(AnyValue::bytes), Some(&[0, 0, 0, 0, 0, 0, 0, 1][..]));
        assert_eq!(yes.expect("a Boolean").adjusted(AdjustmentType::Increment, None), Err(NotAdjusted::Type));
        let least = AnyValue::integer(i32::MIN);
        assert_eq!(least.adjusted(AdjustmentType::Decrement, None), Err(NotAdjusted::Range));
    }
}
