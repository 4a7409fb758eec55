//! Times as arguments.

use time::{
    Date, OffsetDateTime,
    format_description::well_known::{Iso8601, Rfc3339},
};

/// Reads a time, and gives it back in RFC 3339: what the admin API takes.
///
/// # Errors
/// What would have been right, with an example.
pub(super) fn moment(text: &str) -> Result<String, String> {
    // ISO 8601 has other forms of days, too.
    let is_day =
        || text.len() == "2027-01-31".len() && text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
    let day = || Date::parse(text, &Iso8601::DATE).ok().filter(|_| is_day());
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| Some(day()?.midnight().assume_utc()));
    let written = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    written.ok_or_else(|| {
        "a time is written 2027-01-31T12:00:00Z or 2027-01-31T13:00:00+01:00 (RFC 3339), or as a day, 2027-01-31, which means its \
         beginning in UTC"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both forms are read; what is neither is told both.
    #[test]
    fn times_and_days_are_read() {
        assert_eq!(moment("2027-01-31T12:00:00Z").as_deref(), Ok("2027-01-31T12:00:00Z"));
        assert_eq!(moment("2027-01-31T13:00:00+01:00").as_deref(), Ok("2027-01-31T13:00:00+01:00"));
        assert_eq!(moment("2027-01-31").as_deref(), Ok("2027-01-31T00:00:00Z"));
        for wrong in
            ["", "tomorrow", "30d", "2027-02-30", "2027-01-31T12:00:00", "2027-01-31 12:00", "20270131", "2027-W04-7"]
        {
            let told = moment(wrong).expect_err(wrong);
            assert!(told.contains("2027-01-31T12:00:00Z") && told.contains("2027-01-31,"), "{told}");
        }
    }
}
