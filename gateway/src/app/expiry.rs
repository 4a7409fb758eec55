//! Certificates near their end: a warning in the log once a day, and a figure for each in the metrics.

use keygate_pki::{OffsetDateTime, Profile};

use crate::{
    authority,
    store::Store,
    telemetry::{MetricsSource, Sample},
};

/// Days before the end from which on it is warned.
const WARN_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;

/// Ends of validity, asked at each scrape.
pub struct Expiry {
    store: Store,
}

impl Expiry {
    /// Over the certificates in a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Logs what ends within thirty days.
    pub fn warn(&self) {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        for (name, end) in self.ends() {
            let days = (end - now).div_euclid(DAY_SECONDS);
            if end < now {
                tracing::warn!(certificate = name, "certificate has expired");
            } else if days < WARN_DAYS {
                tracing::warn!(certificate = name, days, "certificate expires soon");
            }
        }
    }

    /// Authorities and the server, then the certificate of each enabled client that lasts longest.
    fn ends(&self) -> Vec<(String, i64)> {
        let directory = self.store.directory();
        let own = [Profile::RootCa, Profile::ServerCa, Profile::ClientIssuer, Profile::AdminCa, Profile::KmipCertifyCa, Profile::ServerCertificate];
        let mut ends: Vec<(String, i64)> = own
            .into_iter()
            .filter_map(|profile| Some((format!("{profile:?}"), authority::certificate(&directory, profile).ok()?.not_after())))
            .map(|(name, end): (String, OffsetDateTime)| (name, end.unix_timestamp()))
            .collect();
        let mut last = std::collections::BTreeMap::new();
        for certificate in directory.certificates.iter().filter(|certificate| !certificate.revoked) {
            let end = last.entry(certificate.client).or_insert(certificate.not_after);
            *end = certificate.not_after.max(*end);
        }
        for (client, end) in last {
            if let Some(client) = directory.clients.get(&client).filter(|client| !client.disabled) {
                ends.push((format!("client {}", client.name), end));
            }
        }
        ends
    }
}

impl MetricsSource for Expiry {
    fn samples(&self) -> Vec<Sample> {
        let sample = |(name, end)| Sample {
            name: "certificate_expiry_seconds",
            help: "Unix time at which a certificate ends; of a client's, the one that lasts longest.",
            label: Some(("certificate", name)),
            value: end as f64,
        };
        self.ends().into_iter().map(sample).collect()
    }
}
