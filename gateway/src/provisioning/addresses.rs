//! Addresses that an authority's lists go by: that of today, and earlier ones for as long as certificates live that name them.
//!
//! RFC 5280 §6.3.3 (b)(2)(i): "If the distribution point name is present in the IDP CRL extension and the distribution field is
//! present in the DP, then verify that one of the names in the IDP matches one of the names in the DP." A certificate's name stays
//! what it was when it was issued; so a list whose address has changed has all of them.

use keygate_pki::{Certificate, HttpUrl};
use time::Duration;

use super::{
    Provisioning, ProvisioningError,
    authority::{blob, path_name},
};
use crate::store::{Authority, AuthorityCertificate, EarlierUrl, EntryId};

/// Most earlier addresses that are remembered; those that end first are forgotten.
const EARLIER_MAX: usize = 8;

impl Provisioning {
    /// The addresses of a shard's list: that of today first, no two alike.
    pub(super) fn shard_urls(&self, row: &Authority, shard: u32) -> Result<Vec<HttpUrl>, ProvisioningError> {
        let now = self.now().unix_timestamp();
        let mut urls = vec![self.shard_url(row.id, shard)?];
        let earlier = row.earlier_urls.iter().filter(|earlier| earlier.until >= now).map(|earlier| &earlier.url);
        for base in std::iter::once(&row.public_url).chain(earlier).filter(|base| !base.is_empty()) {
            // It was an address once: one that no longer reads as one was altered.
            let base: HttpUrl = base.parse().map_err(|_| ProvisioningError::Damaged("public address"))?;
            let url = shard_url(&base, row.id, shard)?;
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        Ok(urls)
    }

    /// The row with one more certificate, which names the address of today. That of the one before is kept.
    pub(super) fn with_certificate(&self, row: &Authority, certificate: &Certificate, issuer: EntryId) -> Authority {
        let (now, url) = (self.now(), self.public_url());
        let mut row = row.clone();
        row.certificates.push(AuthorityCertificate { der: blob(certificate), issuer: Some(issuer) });
        row.earlier_urls.retain(|earlier| earlier.until >= now.unix_timestamp() && earlier.url != url.as_str());
        if row.public_url != url.as_str() {
            let before = std::mem::replace(&mut row.public_url, url.as_str().into());
            let until = self.named_until(&row);
            row.earlier_urls.retain(|earlier| earlier.url != before);
            row.earlier_urls.push(EarlierUrl { url: before, until });
            let surplus = row.earlier_urls.len().saturating_sub(EARLIER_MAX);
            row.earlier_urls.drain(..surplus);
        }
        row
    }

    /// When the last certificate ends that names the address of before. One may be under way.
    fn named_until(&self, row: &Authority) -> i64 {
        let days = row
            .provisioning_key
            .and_then(|key| self.snapshot().keys.get(&key).map(|key| key.row.days))
            .unwrap_or_default();
        let now = self.now() + Duration::days(days.into());
        let issued = self.store.with_issued(|index| {
            index.iter().filter(|facts| index.issuer(facts).2 == row.id).map(|facts| facts.not_after).max()
        });
        issued.unwrap_or_default().max(now.unix_timestamp())
    }
}

/// Where a shard's list is, below a public address.
pub(super) fn shard_url(base: &HttpUrl, issuer: EntryId, shard: u32) -> Result<HttpUrl, ProvisioningError> {
    let url = base.join(&format!("crl/{}/{shard}.crl", path_name(issuer)));
    url.map_err(|error| ProvisioningError::Invalid(error.to_string()))
}
