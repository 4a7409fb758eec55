//! Block paddings.
//!
//! Removing one reports a single failure whatever was wrong. That does not stop a padding oracle by itself (CBC without
//! authentication has one by nature); it keeps texts and timing from adding to it.

use crate::error::{KsError, Result};
use crate::operation::{BlockPadding, DecryptOp, EncryptionScheme};
use crate::secret::SecretBytes;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeLess};

/// The octets to append to a message of this length.
pub(crate) fn suffix(padding: BlockPadding, message_len: usize, block: usize) -> Result<Vec<u8>> {
    let over = message_len % block;
    match padding {
        BlockPadding::None if over == 0 => Ok(Vec::new()),
        BlockPadding::None => Err(KsError::data(format!(
            "data of {message_len} octets is not whole blocks of {block} and Padding Method is None"
        ))),
        BlockPadding::Zeros => Ok(vec![0; (block - over) % block]),
        BlockPadding::Pkcs5 => Ok(vec![count(block - over); block - over]),
        BlockPadding::AnsiX923 => Ok(counted(vec![0; block - over])),
        BlockPadding::Iso10126 => {
            let mut fill = vec![0; block - over];
            super::fill_random(&mut fill)?;
            Ok(counted(fill))
        }
    }
}

/// How many octets of the last block belong to the message.
pub(crate) fn message_len(padding: BlockPadding, last: &[u8]) -> Result<usize> {
    match padding {
        BlockPadding::None => Ok(last.len()),
        BlockPadding::Zeros => Ok(last.iter().rposition(|&octet| octet != 0).map_or(0, |at| at + 1)),
        BlockPadding::Pkcs5 => counted_len(last, |octet, count| octet.ct_eq(&count)),
        BlockPadding::AnsiX923 => counted_len(last, |octet, _| octet.ct_eq(&0)),
        BlockPadding::Iso10126 => counted_len(last, |_, _| Choice::from(1)),
    }
}

/// The padding of a scheme that works on whole blocks, for keystores whose device pads nothing. The tag and the length of the
/// cipher text are checked here as the local keystore checks them.
pub(crate) fn before_decrypt(op: &DecryptOp<'_>, block: usize) -> Result<Option<BlockPadding>> {
    if op.tag.map(<[u8]>::len) != op.scheme.tag_len() {
        return Err(KsError::parameters("the authentication tag has not the length that the scheme has"));
    }
    let padding = match op.scheme {
        EncryptionScheme::Ecb(padding) | EncryptionScheme::Cbc(padding) => Some(*padding),
        _ => None,
    };
    let needs_block = padding.is_some_and(|padding| !matches!(padding, BlockPadding::None | BlockPadding::Zeros));
    if padding.is_some() && (!op.data.len().is_multiple_of(block) || (needs_block && op.data.is_empty())) {
        return Err(KsError::data(format!("cipher text of {} octets is not whole blocks of {block}", op.data.len())));
    }
    Ok(padding)
}

/// The message in what such a device has decrypted.
pub(crate) fn after_decrypt(
    padding: Option<BlockPadding>,
    mut plain: SecretBytes,
    block: usize,
) -> Result<SecretBytes> {
    if let (Some(padding), Some(last)) = (padding, plain.len().checked_sub(block)) {
        let keep = message_len(padding, &plain.expose()[last..])?;
        plain.truncate(last + keep);
    }
    Ok(plain)
}

/// Checks a block whose last octet is the count, in time that does not depend on its content.
fn counted_len(last: &[u8], fits: impl Fn(&u8, u8) -> Choice) -> Result<usize> {
    let Some((&pad, rest)) = last.split_last() else {
        return Err(bad_padding());
    };
    let block = count(last.len());
    let mut good = !pad.ct_eq(&0) & !block.ct_lt(&pad);
    for (distance, octet) in (2u8..).zip(rest.iter().rev()) {
        let inside = !pad.ct_lt(&distance);
        good &= Choice::conditional_select(&Choice::from(1), &fits(octet, pad), inside);
    }
    if bool::from(good) { Ok(last.len() - usize::from(pad)) } else { Err(bad_padding()) }
}

fn counted(mut fill: Vec<u8>) -> Vec<u8> {
    let len = count(fill.len());
    if let Some(last) = fill.last_mut() {
        *last = len;
    }
    fill
}

/// Blocks have 8 or 16 octets, so a count always fits.
fn count(octets: usize) -> u8 {
    octets as u8
}

fn bad_padding() -> KsError {
    KsError::integrity("decryption failed: the padding is not what the Padding Method says")
}
