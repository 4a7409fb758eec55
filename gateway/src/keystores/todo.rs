//! What an operator has to do about a keystore that does not serve: one kind of trouble, one cure, and no other place. What is wrong, the
//! backends say; where a secret is mended depends on who manages the keystore, which they do not know.

use keygate_backends::Health;

use crate::telemetry::ComponentState;

/// What keeps a keystore from serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The peer's certificate, or ours, is past its date.
    CertificateExpired,
    /// The peer does not accept our certificate.
    CertificateRefused,
    /// The peer's certificate is not one that we trust, or not for its name.
    CertificateUntrusted,
    /// The token counts one more try.
    LastTry,
    /// Whether the PIN is right cannot be told.
    LoginUnchecked,
    /// The vendor's library cannot be used.
    ModuleFails,
    /// The token is open in this gateway with another PIN.
    OtherPin,
    /// The key server refused user or password.
    PasswordRefused,
    /// No address of the key server answers.
    PeerAway,
    /// The PIN has expired.
    PinExpired,
    /// The PIN is locked.
    PinLocked,
    /// The token has no user PIN.
    PinMissing,
    /// The token refused the PIN.
    PinRefused,
    /// The module shows no such token.
    TokenAway,
    /// Several tokens fit the settings.
    TokenAmbiguous,
    /// Something else, as its text says.
    Other,
}

use Trouble as T;

/// Words of the messages by which each kind is known, the narrower before the wider.
const WORDS: &[(&str, Trouble)] = &[
    ("user PIN has one try left", T::LastTry),
    ("counts a wrong PIN", T::LastTry),
    ("the PIN was not checked", T::LoginUnchecked),
    ("open already with another PIN", T::OtherPin),
    ("PIN is locked", T::PinLocked),
    ("PIN has expired", T::PinExpired),
    ("has no user PIN", T::PinMissing),
    ("refused the PIN", T::PinRefused),
    ("refused this PIN before", T::PinRefused),
    ("two logins failed in a row", T::PinRefused),
    ("more than one token", T::TokenAmbiguous),
    ("no slot of the module", T::TokenAway),
    ("refused our certificate (CertificateExpired)", T::CertificateExpired),
    ("refused our certificate", T::CertificateRefused),
    ("certificate expired", T::CertificateExpired),
    ("invalid peer certificate", T::CertificateUntrusted),
    ("PKCS#11 module", T::ModuleFails),
    ("C_Initialize", T::ModuleFails),
    ("login of user", T::PasswordRefused),
    ("refused by the key server", T::PasswordRefused),
    ("AUTHENTICATION_NOT_SUCCESSFUL", T::PasswordRefused),
    ("no connection in time", T::PeerAway),
    ("no answer in time", T::PeerAway),
    ("onnection refused", T::PeerAway),
    ("onnection reset", T::PeerAway),
    ("not contacted yet", T::PeerAway),
    ("lookup address", T::PeerAway),
    ("unexpected end of file", T::PeerAway),
];

impl Trouble {
    /// What a health means; `None` where nothing is wrong.
    pub(super) fn of(health: &Health) -> Option<Self> {
        let text = match health {
            Health::Up => return None,
            Health::Down(text) | Health::NeedsOperator(text) => text,
        };
        let known = WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, trouble)| *trouble);
        Some(match (known, health) {
            (Some(trouble), _) => trouble,
            // The key servers have no other reason to stop.
            (None, Health::NeedsOperator(_)) => Self::PasswordRefused,
            (None, _) => Self::Other,
        })
    }

    /// What is to be done about it. `managed`: its secret was given to a command, and is not in a file that keygate.toml names.
    pub(super) fn cure(self, name: &str, managed: bool) -> String {
        let retry = format!("`keygate keystore retry {name}`");
        let mend = about_secret(name, managed);
        match self {
            Self::CertificateExpired => "renew the certificate that is past its date; a new one of ours is read at the next start, or with `keygate keystore set`".into(),
            Self::CertificateRefused => "let the key server accept our certificate (cert-file), or give one that it accepts".into(),
            Self::CertificateUntrusted => "compare the key server's certificate with ca-file or pinned-file, and its names with `addresses` or `server-name`".into(),
            Self::LastTry => format!("log in once by hand with the right PIN, which sets the token's counter back, then {retry}"),
            Self::LoginUnchecked => format!("close other programs that are logged in to the token, then {retry}"),
            Self::ModuleFails => "see that `module` names the vendor's library, that it is readable, and that its own configuration is right; it is tried again by itself".into(),
            Self::OtherPin => "two keystores name one token with different PINs: give both the right one".into(),
            Self::PasswordRefused => format!("see that user and password are right and the account is not locked; {mend}"),
            Self::PeerAway => "start the key server, or mend the network between; it is looked for by itself".into(),
            Self::PinExpired => format!("set a new PIN on the token; {mend}"),
            Self::PinLocked => format!("unlock the PIN with the security officer's PIN; {mend}, or if it was right {retry}"),
            Self::PinMissing => format!("set a user PIN on the token; {mend}"),
            Self::PinRefused => format!("compare the PIN with the token's; {mend}"),
            Self::TokenAway => "bring the token back, or mend `token-label` and its like; it is looked for by itself".into(),
            Self::TokenAmbiguous => "name one token: set `serial`".into(),
            Self::Other => "bring the device back; it is looked for by itself".into(),
        }
    }
}

/// What to do about a refused PIN or password of a keystore. `added`: by a command; otherwise the settings file names it.
pub(super) fn about_secret(name: &str, added: bool) -> String {
    if added {
        format!("give the right one with `keygate keystore set {name} --secret-file FILE`")
    } else {
        format!("correct it where keygate.toml says, then `keygate keystore retry {name}`")
    }
}

/// The state of a keystore's part in readiness.
pub(crate) fn component_state(name: &str, added: bool, health: Health) -> ComponentState {
    match health {
        Health::Up => ComponentState::Up,
        Health::Down(reason) => ComponentState::Down { reason },
        Health::NeedsOperator(reason) => {
            ComponentState::Down { reason: format!("{reason}: {}", about_secret(name, added)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Trouble; 16] = [
        T::CertificateExpired, T::CertificateRefused, T::CertificateUntrusted, T::LastTry, T::LoginUnchecked, T::ModuleFails, T::OtherPin,
        T::PasswordRefused, T::PeerAway, T::PinExpired, T::PinLocked, T::PinMissing, T::PinRefused, T::TokenAway, T::TokenAmbiguous, T::Other,
    ];

    /// Messages as the backends say them (`pkcs11/worker`, `pkcs11/select`, `pkcs11/token`, `remote/cluster`, rustls), and what each means.
    #[test]
    fn messages_are_understood() {
        for (text, trouble) in [
            ("the token's user PIN is locked and is not offered again: unlock it", T::PinLocked),
            ("the token's user PIN has expired and is not offered again", T::PinExpired),
            ("the token has no user PIN yet: set one", T::PinMissing),
            ("the token refused the PIN, which is not offered again (C_Login: CKR_PIN_INCORRECT 0xa0)", T::PinRefused),
            ("the token has refused this PIN before, and it is not offered again", T::PinRefused),
            ("two logins failed in a row without a clear reason, so the PIN, which may be wrong, is not offered again", T::PinRefused),
            ("the token's user PIN has one try left: check the configured PIN", T::LastTry),
            ("a login got no answer, and since then the token counts a wrong PIN", T::LastTry),
            ("the token says that somebody is logged in already, so the PIN was not checked", T::LoginUnchecked),
            ("the token is open already with another PIN", T::OtherPin),
            ("no slot of the module holds a token labelled \"a\"", T::TokenAway),
            ("more than one token is labelled \"a\": configure its serial number", T::TokenAmbiguous),
            ("the worker process for PKCS#11 module /x.so ended while loading the module (by signal 11)", T::ModuleFails),
            ("a:1: Connection refused (os error 111)", T::PeerAway),
            ("a:1: no connection in time; b:1: not contacted yet", T::PeerAway),
            ("a:1: invalid peer certificate: certificate expired: verification time 1", T::CertificateExpired),
            ("a:1: invalid peer certificate: UnknownIssuer", T::CertificateUntrusted),
            ("a:1: the server refused our certificate (CertificateUnknown)", T::CertificateRefused),
            ("a:1: the server refused our certificate (CertificateExpired)", T::CertificateExpired),
            ("something new", T::Other),
        ] {
            assert_eq!(Trouble::of(&Health::Down(text.into())), Some(trouble), "{text}");
        }
        for text in ["Find refused by the key server: 401 AUTHENTICATION_NOT_SUCCESSFUL", "the login of user \"a\" was refused", "who knows"] {
            assert_eq!(Trouble::of(&Health::NeedsOperator(text.into())), Some(T::PasswordRefused), "{text}");
        }
        assert_eq!(Trouble::of(&Health::Up), None);
    }

    /// Each has a cure of its own; what stops for good names the command that lets it go on, and nothing asks for a restart.
    #[test]
    fn each_has_a_cure() {
        for managed in [true, false] {
            let cures: std::collections::BTreeSet<String> = ALL.iter().map(|trouble| trouble.cure("hsm", managed)).collect();
            assert_eq!(cures.len(), ALL.len());
            for trouble in [T::LastTry, T::LoginUnchecked, T::PasswordRefused, T::PinExpired, T::PinLocked, T::PinMissing, T::PinRefused] {
                let cure = trouble.cure("hsm", managed);
                assert!(cure.contains("keystore retry hsm") || cure.contains("keystore set hsm"), "{cure}");
            }
            assert!(cures.iter().all(|cure| !cure.contains("start the gateway") && !cure.contains("restart")));
        }
    }
}
