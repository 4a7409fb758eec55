//! Commands over the admin API: arguments -> requests, answers -> text, or JSON as the API gave it.
//!
//! A request goes to the admin socket of the server that runs on the data directory, or is done here where none runs; with
//! `--server` it goes to `admin.listen` of a gateway elsewhere, by an administrator's certificate.

pub(super) mod args;
mod ask;
mod authorities;
mod impact;
mod keystore;
mod people;
mod print;
mod provisioning;
mod rehome;
pub(super) mod remote;
mod rest_users;

pub(super) use ask::Path;
pub(super) use authorities::authority;
pub(super) use keystore::keystore;
pub(super) use people::{admin, organisation, search};
pub(super) use provisioning::{certificate, key, service};
pub(super) use rest_users::rest_user;
pub(super) use rehome::{moves, rehome, rotate};
