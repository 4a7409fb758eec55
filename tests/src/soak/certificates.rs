//! A machine that enrols again and again (EST), and keeps what it gets.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::site::Site;
use super::watch::Watch;
use crate::est::Request;
use crate::est::curl::{Shown, simpleenroll};

/// Between two enrolments.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    site: &Site,
    watch: &Arc<Watch>,
) -> ScopedJoinHandle<'scope, Vec<Vec<u8>>> {
    let (server, account, watch) = (site.clients(), site.provisioning.account.clone(), Arc::clone(watch));
    let folder = site.service.gateway.scratch().join("enroller");
    scope.spawn(move || {
        let mut held = Vec::new();
        while !watch.is_over() {
            let name = format!("machine-{}", held.len());
            let asked = watch.ask();
            let answer = Request::new(&folder, &name, "DNS:device.example")
                .and_then(|request| simpleenroll(&server, &folder, Shown::Account(&account), &request.csr));
            let certificates = answer.and_then(|answer| answer.certificates(&folder));
            match certificates.map(|list| list.into_iter().next()) {
                Ok(Some(leaf)) => held.push(leaf),
                Ok(None) => watch.wrong("EST: an answer without a certificate"),
                Err(error) if !watch.was_disturbed(&asked) => watch.wrong(format!("EST: {error}")),
                Err(_) => {}
            }
            std::thread::sleep(PAUSE);
        }
        held
    })
}
