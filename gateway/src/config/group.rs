//! `[[keystore]]` tables of kind `group`: several tokens as one keystore.

use std::fmt;

use keygate_backends::group::MEMBERS_MAX;

use super::keystore::{Pkcs11Config, Table, pkcs11_token};

/// Several tokens as one keystore.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Name of the keystore.
    pub name: String,
    /// Its tokens; the first that serves makes new keys.
    pub members: Vec<Pkcs11Config>,
    /// Members that must hold a new key before it is acknowledged.
    pub copies_min: usize,
    /// Label of a replication key that is on every member already.
    pub replication_key: Option<String>,
}

impl fmt::Display for GroupConfig {
    /// The settings as they were understood, in one line; places of PINs, never a PIN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, members, copies_min, replication_key } = self;
        write!(f, "keystore {name}: group of {}, a new key on at least {copies_min}, replication key ", members.len())?;
        match replication_key {
            Some(label) => write!(f, "{label:?} of the tokens")?,
            None => write!(f, "made by the group")?,
        }
        members.iter().try_for_each(|member| write!(f, "; member {}", member.of_group()))
    }
}

/// Reads the table. Members of a group of the settings file have each a PIN of their own; those of a group that was added share the
/// one that is sealed.
pub(super) fn group(table: &mut Table<'_>, name: String) -> Option<GroupConfig> {
    let tables = table.tables("member")?;
    if !(2..=MEMBERS_MAX).contains(&tables.len()) {
        table.problem("member", &format!("a group has 2 to {MEMBERS_MAX} members, not {}", tables.len()));
    }
    let count = tables.len();
    let mut members: Vec<Pkcs11Config> = Vec::new();
    for (index, member) in tables.into_iter().enumerate() {
        let mut member = table.inner(format!("member[{index}]"), member);
        let config = member.required("name").and_then(|name| {
            member.relabel(&format!("member.{name}"));
            pkcs11_token(&mut member, name)
        });
        member.finish();
        let Some(config) = config else { continue };
        if members.iter().any(|other| other.name == config.name) {
            table.problem(&format!("member.{}", config.name), "this name is used twice");
        }
        if members.iter().any(|other| (&other.module, &other.token) == (&config.module, &config.token)) {
            table.problem(&format!("member.{}", config.name), "this token is a member already");
        }
        members.push(config);
    }
    let copies_min = table.count("min-copies", 1, count.max(1));
    let replication_key = table.has("replication-key").then(|| table.text("replication-key")).flatten();
    (members.len() == count).then_some(GroupConfig { name, members, copies_min, replication_key })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use super::super::file::FileConfig;
    use super::super::keystore::{KeystoreConfig, check, check_one};

    /// Of a group that was added.
    fn added(settings: &str) -> String {
        match check_one("pair", "group", settings.parse().unwrap(), true) {
            Ok(config) => described(&config),
            Err(problems) => problems.to_string(),
        }
    }

    /// Of the settings file.
    fn shown(settings: &str) -> String {
        let mut table: toml::Table = settings.parse().unwrap();
        table.insert("name".into(), "pair".into());
        table.insert("kind".into(), "group".into());
        let mut file = FileConfig::default();
        file.keystores.push(table);
        let found = check(&mut file);
        let problems = file.into_problems();
        match found.iter().find(|config| config.name() == "pair") {
            Some(config) if problems.0.is_empty() => described(config),
            _ => problems.to_string(),
        }
    }

    fn described(config: &KeystoreConfig) -> String {
        match config {
            KeystoreConfig::Group(config) => config.to_string(),
            _ => "another kind".into(),
        }
    }

    const A: &str = "[[member]]\nname='a'\nmodule='/m.so'\ntoken-label='ta'\n";
    const B: &str = "[[member]]\nname='b'\nuri='pkcs11:token=tb?module-path=/m.so&pin-source=file:/p'\nworkers=1\n";

    /// Members are written like tokens; the PIN is each one's own or the group's.
    #[test]
    fn members_are_tokens() {
        let own = "; member b: PKCS#11 module /m.so, token labelled \"tb\", PIN from file /p, workers 1";
        let head = "keystore pair: group of 2, a new key on at least";
        assert_eq!(
            shown(&format!("min-copies=2\n{A}pin-credential='c'\n{B}")),
            format!("{head} 2, replication key made by the group; member a: PKCS#11 module /m.so, token labelled \"ta\", PIN from systemd credential c, workers 2{own}")
        );
        let sealed = B.replace("&pin-source=file:/p", "");
        let own = own.replace("file /p", "the store");
        assert_eq!(
            added(&format!("replication-key='ours'\n{A}{sealed}")),
            format!("{head} 1, replication key \"ours\" of the tokens; member a: PKCS#11 module /m.so, token labelled \"ta\", PIN from the store, workers 2{own}")
        );
        assert!(added(&format!("{A}{B}")).contains("pin-source"), "whoever adds one from afar names no file of the server");
    }

    /// Every mistake is told by the name of its key.
    #[test]
    fn mistakes_are_told() {
        for (settings, why) in [
            (String::new(), "keystore.pair.member"),
            (A.to_owned(), "a group has 2 to 8 members, not 1"),
            (format!("{A}{B}"), "keystore.pair.member.a.pin-file"),
            (format!("min-copies=3\n{A}pin-file='/q'\n{B}"), "must be a number from 1 to 2, not 3"),
            (format!("{A}pin-file='/q'\n{A}pin-file='/q'\n"), "this name is used twice"),
            (format!("{A}pin-file='/q'\n{}pin-file='/q'\n", A.replace("'a'", "'b'")), "this token is a member already"),
            (format!("{A}pin='1234'\n{B}"), "keystore.pair.member.a.pin"),
            ("member=['a','b']".to_owned(), "must be a list of tables"),
            (format!("{}pin-file='/q'\n{B}", A.replace("name='a'\n", "")), "keystore.pair.member[0].name"),
            (format!("spare=1\n{A}pin-file='/q'\n{B}"), "keystore.pair.spare"),
        ] {
            let problems = shown(&settings);
            assert!(problems.contains(why) && !problems.contains("1234"), "{settings}: {problems}");
        }
    }
}
