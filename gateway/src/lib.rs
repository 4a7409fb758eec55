//! gateway
pub mod audit;
pub mod authority;
pub mod config;
pub mod data_dir;
pub mod identity;
pub mod listen;
pub mod seal;
pub mod store;
pub mod telemetry;
