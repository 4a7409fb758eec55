//! gateway
pub mod admin;
pub mod app;
pub mod audit;
pub mod authority;
pub mod authorize;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod identity;
pub mod kmip;
pub mod listen;
pub mod object;
pub mod operation;
pub mod respond;
pub mod seal;
pub mod store;
pub mod telemetry;
