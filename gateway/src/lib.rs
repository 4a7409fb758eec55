//! gateway
pub mod audit;
pub mod seal;
pub mod store;
