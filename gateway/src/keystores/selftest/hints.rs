//! Why a step of a test failed, and what to do about it: each in the words of the settings.

use keygate_backends::{Class, KsError};

/// Why a step failed.
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) hint: String,
    /// The device has said no to the secret: it is not offered again.
    pub(super) secret_refused: bool,
    /// It is the secret that is wrong: what to do about it depends on the keystore.
    pub(super) about_secret: bool,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { text: text.into(), hint: hint.into(), secret_refused: false, about_secret: false }
    }

    /// The same, of a member of a group.
    pub(super) fn on(self, member: &str) -> Self {
        Self { text: format!("{member}: {}", self.text), ..self }
    }

    /// The device has refused the secret.
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self { secret_refused: true, about_secret: true, ..Self::new(text, "") }
    }

    /// The secret is known to be wrong, and was not offered.
    pub(super) fn other_secret(text: impl Into<String>) -> Self {
        Self { about_secret: true, ..Self::new(text, "") }
    }

    pub(super) fn of(error: &KsError) -> Self {
        let hint = match error.class() {
            Class::AuthStop => return Self::refused(error.to_string()),
            Class::Unsupported => "the device lacks what keys here need: see its list of mechanisms",
            Class::Denied => "the device refuses it to this user: see its policy and the user's rights",
            Class::Busy | Class::RetrySame | Class::RetryOther => "the device is busy: try again",
            _ => "see the device's own log, and try again",
        };
        Self::new(error.to_string(), hint)
    }
}

/// What the backends say where a server ends the handshake because of our certificate.
pub(super) const REFUSED_US: &str = "refused our certificate";

/// What to do where a device is away for a reason that does not go away by waiting: the words are those of rustls, of the dynamic
/// linker, and of our workers. `None`: it may come yet.
pub(super) fn lasting(reason: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 9] = [
        ("InvalidContentType", "this port does not speak TLS: mend `addresses`"),
        (
            "UnknownIssuer",
            "`ca-file` does not verify this server: put the CA certificate there that issued the server's, or name the server's own with `pinned-file`",
        ),
        (
            "BadSignature",
            "`ca-file` does not verify this server: it has a CA certificate of the same name with another key",
        ),
        (
            "not the pinned one",
            "`pinned-file` does not have this server's certificate: put it there if it is known to be right",
        ),
        (
            "NotValidForName",
            "the server's certificate is for another name: mend `addresses`, or name what is in it with `server-name`",
        ),
        (
            "not valid for name",
            "the server's certificate is for another name: mend `addresses`, or name what is in it with `server-name`",
        ),
        ("Expired", "the server's certificate has expired: it needs another one, or a clock is wrong"),
        ("NotValidYet", "the server's certificate is not valid yet: see the clocks"),
        ("certificate expired", "the server's certificate has expired: it needs another one, or a clock is wrong"),
    ];
    if reason.starts_with("PKCS#11 module ") {
        return Some("mend `module`: it must be the vendor's PKCS#11 library, with all that it needs beside it");
    }
    KNOWN.iter().find(|(words, _)| reason.contains(words)).map(|(_, hint)| *hint)
}

/// Why nobody can log in, where a first exchange has failed with this. `None`: it has not to do with who we are.
pub(super) fn not_let_in(error: &KsError) -> Option<Failure> {
    let text = error.to_string();
    let closed = ["connection reset", "Connection reset", "closed", "unexpected end of file", "Broken pipe"];
    match error.class() {
        Class::AuthStop => Some(Failure::refused(text)),
        _ if text.contains(REFUSED_US) => Some(Failure::new(text, CERTIFICATE)),
        Class::Denied => Some(Failure::new(
            text,
            "the server does not let us in: see `cert-file` or `user`, and what it lets them do",
        )),
        _ if closed.iter().any(|word| text.contains(word)) => Some(Failure::new(
            text,
            "the server ended the connection as soon as it saw who we are: see its log, and `cert-file`",
        )),
        _ => None,
    }
}

/// What to do where our certificate is refused.
pub(super) const CERTIFICATE: &str =
    "the server does not take our certificate: give one that it knows with `cert-file` and `key-file`";

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, Error, InvalidMessage};

    /// The words by which a lasting fault is known are those that rustls has: an update that changes them fails here.
    #[test]
    fn faults_of_tls_are_told_by_the_setting() {
        for (error, setting) in [
            (Error::from(InvalidMessage::InvalidContentType), "does not speak TLS"),
            (CertificateError::UnknownIssuer.into(), "`ca-file` does not verify"),
            (CertificateError::BadSignature.into(), "`ca-file` does not verify"),
            (CertificateError::NotValidForName.into(), "`server-name`"),
            (CertificateError::Expired.into(), "expired"),
            (CertificateError::NotValidYet.into(), "not valid yet"),
        ] {
            let hint = lasting(&error.to_string()).unwrap_or_else(|| panic!("{error}"));
            assert!(hint.contains(setting), "{error}: {hint}");
        }
        assert_eq!(lasting("kms1:5696: Connection refused (os error 111)"), None);
        assert_eq!(lasting("the token is being opened"), None);
    }

    /// Who we are is the matter of the log-in, and nothing else is.
    #[test]
    fn a_refused_certificate_is_no_matter_of_capabilities() {
        let lost = |text: &str| not_let_in(&KsError::new(Class::TokenLost, text.to_owned()));
        let refused =
            lost("no endpoint serves: kms1:5696: the server refused our certificate (UnknownCA)").expect("a log-in");
        assert!(refused.hint.contains("`cert-file`") && !refused.secret_refused);
        assert!(lost("no endpoint serves: kms1:5696: no answer in time").is_none());
        let password = not_let_in(&KsError::new(Class::AuthStop, "401")).expect("a log-in");
        assert!(password.secret_refused && password.about_secret);
    }
}
