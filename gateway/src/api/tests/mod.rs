//! The admin API in process, over a real store: permissions of every path, and stories per resource.

mod coverage;
mod fixture;
mod keystores;
mod refusals;
mod resources;
