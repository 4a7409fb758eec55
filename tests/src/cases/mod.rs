//! The OASIS test cases: read, run against a server, compare.
//!
//! [`mod@file`] reads a case as it is written, with all its leniencies; [`state`] holds what placeholders stand for;
//! [`compare`](mod@compare) decides whether an answer is the expected one under the variations the KMIP profiles permit (§4.1,
//! "Permitted Test Case Variations") and nothing else; [`run`] plays a case over a [`transport`] (TTLV over TLS; TTLV, XML and JSON over
//! HTTPS); [`suite`] runs all of them and
//! [`report`] writes down the outcome. The cases are read from where they are and never copied.

pub mod compare;
pub mod context;
pub mod file;
pub mod printed;
pub mod report;
pub mod run;
pub mod state;
pub mod suite;
pub mod transport;
