//! What the text encodings (XML, JSON) share: names of tags, types and values, what a text may cost, and what can be wrong
//! with it.

mod buffer;
mod error;
mod limits;
pub(crate) mod names;

pub(crate) use buffer::TextBuffer;
pub use error::{Error, Reason};
pub(crate) use error::{said, shown};
pub use limits::Limits;
pub(crate) use limits::Budget;
