//! Tests that run over samples of everything the crate can say.

mod mutations;
mod round_trips;
mod texts;
mod version_gates;
mod version_three;
mod whole_tables;
