//! The settings as written: a flat table of dotted keys, each with where it was set.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::{Path, PathBuf}, str::FromStr, time::Duration};

use keygate_kmip::Operation;
use keygate_pki::{BlockList, HttpUrl, SubjectAltName};
use toml::Value;

use super::{
    AuditReads, Config, Forbidden, GroupDefault, HttpConfig, KmipConfig, Limits, LocateOrder, LogConfig, LogFormat, NoEncoding, NotifyConfig, OnLoss,
    RequestQuotas, RngSeed, SplitKeyPolynomial, UnsealConfig, endpoint, keystore, settings,
};
use crate::store::{CertificateQuotas, ObjectQuotas};

/// Largest quota of things that are kept.
const QUOTA_MAX: usize = 1_000_000_000;
/// Largest quota of requests in a second.
const REQUESTS_PER_SECOND_MAX: usize = 1_000_000;

/// The settings as written, not yet checked.
#[derive(Debug, Clone, Default)]
pub struct FileConfig {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) keystores: Vec<toml::Table>,
    pub(super) endpoints: Vec<toml::Table>,
    problems: Vec<Problem>,
}

/// One thing wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name, empty where the file as a whole is meant.
    pub setting: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            match problem.setting.as_str() {
                "" => write!(f, "{separator}{}", problem.message)?,
                setting => write!(f, "{separator}{setting}: {}", problem.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl FileConfig {
    /// Reads the file and lays the overrides over it. Only an unreadable file is an error here.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, Problems> {
        let whole = |message: String| Problems(vec![Problem { setting: String::new(), message }]);
        let text = std::fs::read_to_string(path).map_err(|error| whole(format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text, overrides).map_err(|error| whole(format!("{}: {error}", path.display())))
    }

    /// Takes the text of a settings file and overrides of the form `key=value`.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, toml::de::Error> {
        let mut table: toml::Table = text.parse()?;
        let mut config = Self::default();
        match table.remove("keystore") {
            None => {}
            Some(Value::Array(list)) if list.iter().all(Value::is_table) => {
                config.keystores = list.into_iter().filter_map(|value| value.try_into().ok()).collect();
            }
            Some(Value::Table(rest)) => {
                table.insert("keystore".into(), Value::Table(rest));
            }
            Some(_) => config.problem("keystore", "must be tables, each begun with [[keystore]]"),
        }
        match table.remove("endpoint") {
            None => {}
            Some(Value::Array(list)) if list.iter().all(Value::is_table) => {
                config.endpoints = list.into_iter().filter_map(|value| value.try_into().ok()).collect();
            }
            Some(_) => config.problem("endpoint", "must be tables, each begun with [[endpoint]]"),
        }
        config.flatten("", table);
        for text in overrides {
            config.lay_over(text);
        }
        Ok(config)
    }

    /// Checks everything and reports all problems at once.
    pub fn check(mut self) -> Result<Config, Problems> {
        let keystores = keystore::check(&mut self);
        let endpoints = endpoint::check(&mut self);
        let config = Config {
            kmip: KmipConfig {
                listen: self.address("kmip.listen"),
                version_min: self.version("kmip.version_min"),
                forbidden: self.choice("kmip.forbidden", &[("not-found", Forbidden::NotFound), ("permission-denied", Forbidden::PermissionDenied)]),
                interop: self.flag("kmip.interop"),
                legacy_algorithms: self.flag("kmip.legacy_algorithms"),
                rng_seed: self.rng_seed("kmip.rng_seed"),
                log_operation: self.flag("kmip.log_operation"),
                async_answer: self.milliseconds("kmip.async_answer_ms"),
                async_begin: self.milliseconds("kmip.async_begin_ms"),
                split_key_polynomial: self.choice("kmip.split_key_polynomial", &[("polynomial-285", SplitKeyPolynomial::P285), ("polynomial-283", SplitKeyPolynomial::P283)]),
                unique_names: self.flag("kmip.unique_names"),
                endpoint_role: self.flag("kmip.endpoint_role"),
                locate_order: self.choice("kmip.locate_order", &[("newest", LocateOrder::Newest), ("oldest", LocateOrder::Oldest)]),
                group_default: self.choice("kmip.group_default", &[("newest", GroupDefault::Newest), ("round-robin", GroupDefault::RoundRobin)]),
                hidden_operations: self.operations("kmip.hidden_operations"),
                no_encoding: self.choice("kmip.no_encoding", &[("byte-string", NoEncoding::ByteString), ("key-material", NoEncoding::KeyMaterial)]),
                certify: self.choice("kmip.certify", &[("off", false), ("own", true)]),
                certify_days: u32::try_from(self.count("kmip.certify_days", 1, 3650)).unwrap_or(1),
                ticket_seconds_max: u32::try_from(self.count("kmip.ticket_seconds_max", 1, 604_800)).unwrap_or(1),
            },
            status_listen: self.address("status.listen"),
            tls_hosts: self.hosts("tls.hosts"),
            http: self.http(),
            rest_enabled: self.choice("rest.enabled", &[("auto", true), ("off", false)]),
            blocked_keys: self.block_list("provisioning.block_list"),
            audit_reads: self.choice("audit.reads", &[("wait", AuditReads::Wait), ("defer", AuditReads::Defer)]),
            seal_on_loss: self.choice("seal.on_loss", &[("serve", OnLoss::Serve), ("stop", OnLoss::Stop)]),
            seal_loss: self.seconds("seal.loss_seconds"),
            seal_wait: self.flag("seal.wait"),
            unseal: self.unseal(),
            limits: self.limits(),
            notify: NotifyConfig {
                endpoints,
                queue_max: self.count("notify.queue_max", 1, 100_000),
                attempts_max: u32::try_from(self.count("notify.attempts_max", 1, 1_000)).unwrap_or(u32::MAX),
                retry: self.seconds("notify.retry_seconds"),
                timeout: self.seconds("notify.timeout_seconds"),
            },
            log: LogConfig {
                format: self.choice("log.format", &[("human", LogFormat::Human), ("json", LogFormat::Json)]),
                level: self.text("log.level"),
            },
            keystore_default: self.text("keystore.default"),
            keystore_check: Some(self.count("keystore.check_seconds", 0, 86_400)).filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds as u64)),
            keystores,
        };
        if !config.keystores.iter().any(|keystore| keystore.name() == config.keystore_default) {
            self.problem("keystore.default", &format!("no keystore is named \"{}\"", config.keystore_default));
        }
        let unknown: Vec<String> = std::mem::take(&mut self.values).into_keys().collect();
        for key in unknown {
            self.problem(&key, &settings::unknown(&key));
        }
        if self.problems.is_empty() { Ok(config) } else { Err(Problems(self.problems)) }
    }

    /// The problems found so far.
    pub(super) fn into_problems(self) -> Problems {
        Problems(self.problems)
    }

    pub(super) fn problem(&mut self, setting: &str, message: &str) {
        self.problems.push(Problem { setting: setting.into(), message: message.into() });
    }

    fn limits(&mut self) -> Limits {
        Limits {
            message_bytes_max: self.count("limits.message_bytes_max", 1024, 256 << 20),
            batch_items_max: self.count("limits.batch_items_max", 1, 1_000_000),
            depth_max: self.count("limits.depth_max", 4, 256),
            async_per_caller: self.count("limits.async_per_caller", 1, 1_000_000),
            async_total: self.count("limits.async_total", 1, 1_000_000),
            async_bytes_max: self.count("limits.async_bytes_max", 1024, 64 << 30),
            async_kept: self.seconds("limits.async_kept_seconds"),
            connections_max: self.count("limits.connections_max", 1, 1_000_000),
            http_connections_max: self.count("limits.http_connections_max", 1, 1_000_000),
            handshake: self.seconds("limits.handshake_seconds"),
            idle: self.seconds("limits.idle_seconds"),
            frame: self.seconds("limits.frame_seconds"),
            write: self.seconds("limits.write_seconds"),
            drain: self.seconds("limits.drain_seconds"),
            name_bytes_max: self.count("limits.name_bytes_max", 1, 65_536),
            attribute_bytes_max: self.count("limits.attribute_bytes_max", 1, 16 << 20),
            object_bytes_max: self.count("limits.object_bytes_max", 64, 64 << 20),
            locate_page_max: self.count("limits.locate_page_max", 1, 1_000_000),
            objects: ObjectQuotas {
                per_client: self.quota("limits.objects_per_client", QUOTA_MAX),
                per_organisation: self.quota("limits.objects_per_organisation", QUOTA_MAX),
            },
            requests: RequestQuotas {
                per_client: self.quota("limits.requests_per_second_per_client", REQUESTS_PER_SECOND_MAX),
                per_organisation: self.quota("limits.requests_per_second_per_organisation", REQUESTS_PER_SECOND_MAX),
            },
            certificates: CertificateQuotas {
                per_client: self.quota("limits.certificates_per_client", QUOTA_MAX),
                per_organisation: self.quota("limits.certificates_per_organisation", QUOTA_MAX),
            },
        }
    }

    fn flatten(&mut self, prefix: &str, table: toml::Table) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => self.flatten(&key, inner),
                value => {
                    self.values.insert(key, value);
                }
            }
        }
    }

    fn lay_over(&mut self, text: &str) {
        let Some((key, value)) = text.split_once('=') else {
            return self.problem(text, "--set takes KEY=VALUE");
        };
        let key = key.trim();
        if settings::names_a_secret(key) {
            return self.problem(key, "a secret is never given by --set; name a file, a file descriptor or a systemd credential");
        }
        if settings::find(key).is_none() {
            return self.problem(key, &settings::unknown(key));
        }
        // A value that is no TOML value is a string: `--set kmip.listen=127.0.0.1:0` needs no quotes.
        let value = format!("value = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(value.trim().into()));
        self.values.insert(key.into(), value);
    }

    /// The value as written, or the default of the table.
    fn take(&mut self, key: &str) -> Value {
        let written = self.values.remove(key);
        let default = || settings::find(key).map_or("", |setting| setting.default);
        written.unwrap_or_else(|| Value::String(default().into()))
    }

    fn text(&mut self, key: &str) -> String {
        match self.take(key) {
            Value::String(text) => text,
            other => {
                self.problem(key, &format!("must be a string, not {}", other.type_str()));
                String::new()
            }
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.take(key) {
            Value::Boolean(flag) => flag,
            Value::String(text) if text == "true" || text == "false" => text == "true",
            other => {
                self.problem(key, &format!("must be true or false, not {other}"));
                false
            }
        }
    }

    fn count(&mut self, key: &str, min: usize, max: usize) -> usize {
        let value = self.take(key);
        let number = match &value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => number,
            _ => {
                self.problem(key, &format!("must be a number from {min} to {max}, not {value}"));
                min
            }
        }
    }

    /// A number, 0 for no quota.
    fn quota(&mut self, key: &str, max: usize) -> Option<u64> {
        let max = self.count(key, 0, max);
        (max > 0).then_some(max as u64)
    }

    fn seconds(&mut self, key: &str) -> Duration {
        Duration::from_secs(self.count(key, 1, 86_400) as u64)
    }

    fn milliseconds(&mut self, key: &str) -> Duration {
        Duration::from_millis(self.count(key, 0, 3_600_000) as u64)
    }

    fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.text(key);
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.problem(key, &format!("must be one of {}, not \"{text}\"", names.join(", ")));
                choices[0].1
            }
        }
    }

    fn address(&mut self, key: &str) -> SocketAddr {
        let text = self.text(key);
        text.parse().unwrap_or_else(|_| {
            self.problem(key, &format!("must be ADDRESS:PORT such as 127.0.0.1:5696 or [::]:5696, not \"{text}\""));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// An address, or `None` where the listener is not to be opened.
    fn optional_address(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.text(key);
        if matches!(text.as_str(), "" | "off") {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            self.problem(key, &format!("must be ADDRESS:PORT such as 127.0.0.1:8443 or [::]:8443, or off, not \"{text}\""));
        }
        address
    }

    /// Names of operations, separated by commas. A server that hides these is none any more: a client must be able to ask.
    fn operations(&mut self, key: &str) -> Vec<Operation> {
        let text = self.text(key);
        let mut list = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match crate::authorize::operation_named(name) {
                Some(Operation::Query | Operation::DiscoverVersions) => {
                    self.problem(key, &format!("{name} cannot be hidden: clients learn by it what is served"));
                }
                Some(operation) => list.push(operation),
                None => self.problem(key, &format!("\"{name}\" is no operation of KMIP; names are as in KMIP XML, such as RNGSeed")),
            }
        }
        list
    }

    fn unseal(&mut self) -> Option<UnsealConfig> {
        let listen = self.optional_address("unseal.listen");
        let allow = self.parsed("unseal.allow").unwrap_or_default();
        let mut file = |key: &str| {
            let path = self.text(key);
            if listen.is_some() && path.trim().is_empty() {
                self.problem(key, "is missing: unseal.listen needs a certificate of its own, since the server's is sealed in the store");
            }
            PathBuf::from(path.trim())
        };
        let (cert_file, key_file) = (file("unseal.cert_file"), file("unseal.key_file"));
        Some(UnsealConfig { listen: listen?, cert_file, key_file, allow })
    }

    fn http(&mut self) -> HttpConfig {
        HttpConfig {
            clients: self.optional_address("clients.listen"),
            admin: self.optional_address("admin.listen"),
            admin_allow: self.parsed("admin.allow").unwrap_or_default(),
            public: self.optional_address("public.listen"),
            public_url: self.public_url("public.url"),
        }
    }

    /// Reads the file that the setting names: a list that cannot be read must not let keys pass.
    fn block_list(&mut self, key: &str) -> BlockList {
        let path = self.text(key);
        if path.trim().is_empty() {
            return BlockList::default();
        }
        let read = std::fs::read_to_string(path.trim()).map_err(|error| error.to_string());
        let list = read.and_then(|text| BlockList::parse(&text).map_err(|error| error.to_string()));
        list.unwrap_or_else(|error| {
            self.problem(key, &format!("{path}: {error}"));
            BlockList::default()
        })
    }

    fn public_url(&mut self, key: &str) -> Option<HttpUrl> {
        // Certificates are checked before a TLS connection can be trusted: what is needed for that has to come without TLS.
        let url: HttpUrl = self.parsed(key)?;
        if !url.as_str().starts_with("http://") || url.as_str().contains('?') {
            self.problem(key, &format!("must begin with http:// and have no query, not \"{url}\""));
        }
        Some(url)
    }

    /// A text with a form of its own; `None` where it is empty, or refused.
    fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key);
        if text.trim().is_empty() {
            return None;
        }
        text.trim().parse().map_err(|error: T::Err| self.problem(key, &error.to_string())).ok()
    }

    fn rng_seed(&mut self, key: &str) -> RngSeed {
        let text = match self.take(key) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match text.as_str() {
            "all" => RngSeed::All,
            "none" => RngSeed::None,
            "refuse" => RngSeed::Refuse,
            number => number.parse().map(RngSeed::AtMost).unwrap_or_else(|_| {
                self.problem(key, &format!("must be refuse, none, all or a number of bytes, not \"{text}\""));
                RngSeed::Refuse
            }),
        }
    }

    fn hosts(&mut self, key: &str) -> Vec<SubjectAltName> {
        let names: Vec<String> = match self.take(key) {
            Value::Array(list) => list.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect(),
            Value::String(text) => text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            other => vec![other.to_string()],
        };
        let names = if names.is_empty() { own_names() } else { names };
        let mut hosts = Vec::with_capacity(names.len());
        for name in names {
            match SubjectAltName::parse(&name) {
                Ok(host) => hosts.push(host),
                Err(error) => self.problem(key, &error.to_string()),
            }
        }
        hosts
    }

    fn version(&mut self, key: &str) -> (i32, i32) {
        let text = match self.take(key) {
            Value::Float(number) => format!("{number:.1}"),
            Value::String(text) => text,
            other => other.to_string(),
        };
        const VERSIONS: [&str; 7] = ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1"];
        let known = VERSIONS.contains(&text.as_str()).then(|| text.split_once('.')).flatten();
        match known.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?))) {
            Some(version) => version,
            None => {
                self.problem(key, &format!("must be one of {}, not \"{text}\"", VERSIONS.join(", ")));
                (1, 0)
            }
        }
    }
}

/// How this machine is reached where nothing else is said.
fn own_names() -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if host != "localhost" && SubjectAltName::parse(&host).is_ok() {
        names.insert(0, host);
    }
    names
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use super::*;

    fn check(text: &str, overrides: &[&str]) -> Result<Config, Problems> {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        FileConfig::parse(text, &overrides).unwrap().check()
    }

    /// An empty file is a working configuration, and every default of the table passes its own check.
    #[test]
    fn defaults_are_complete() {
        let config = check("", &[]).unwrap();
        assert_eq!(config.kmip.listen.port(), 5696);
        assert_eq!(config.limits.message_bytes_max, 1 << 20);
        assert_eq!(config.limits.connections_max, 2000);
        assert_eq!(config.keystores.len(), 1);
        let Limits { objects, requests, certificates, .. } = config.limits;
        assert_eq!((objects.per_client, objects.per_organisation), (None, None));
        assert_eq!((requests.per_client, requests.per_organisation), (None, None));
        assert_eq!((certificates.per_client, certificates.per_organisation), (Some(32), Some(1_000_000)));
    }

    /// A quota is a number; 0 takes it away.
    #[test]
    fn quotas_are_numbers_or_none() {
        let set = ["limits.objects_per_client=7", "limits.requests_per_second_per_organisation=9", "limits.certificates_per_client=0"];
        let limits = check("", &set).unwrap().limits;
        assert_eq!((limits.objects.per_client, limits.requests.per_organisation), (Some(7), Some(9)));
        assert_eq!(limits.certificates.per_client, None);
        let problems = check("", &["limits.objects_per_client=-1", "limits.requests_per_second_per_client=many"]).unwrap_err();
        let names: Vec<&str> = problems.0.iter().map(|problem| problem.setting.as_str()).collect();
        assert_eq!(names, ["limits.objects_per_client", "limits.requests_per_second_per_client"]);
    }

    /// Several mistakes at once are reported at once, each under its name.
    #[test]
    fn every_problem_is_reported() {
        let text = "[kmip]\nlisten = 'here'\nversion_min = 3.0\nfoo = 1\n[limits]\ndepth_max = 'deep'\n[audit]\nreads = 'never'\n[[keystore]]\nname='a'\nkind='pkcs11'\n";
        let problems = check(text, &["nonsense"]).unwrap_err();
        let names: Vec<&str> = problems.0.iter().map(|problem| problem.setting.as_str()).collect();
        for name in ["kmip.listen", "kmip.version_min", "kmip.foo", "limits.depth_max", "audit.reads", "nonsense", "keystore.a.module"] {
            assert!(names.contains(&name), "{name} is missing from {names:?}");
        }
    }

    /// A keystore table makes itself the default; `--set` still wins.
    #[test]
    fn a_keystore_can_be_the_default() {
        let file = "[[keystore]]\nname='hsm'\nkind='pkcs11'\nmodule='/m'\ntoken-label='t'\npin-file='/p'\ndefault=true\n";
        let config = check(file, &[]).unwrap();
        assert_eq!((config.keystores.len(), config.keystore_default.as_str()), (2, "hsm"));
        let config = check(file, &["keystore.default=local"]).unwrap();
        assert_eq!(config.keystore_default, "local");
        let problems = check(&format!("{file}pin='1234'\n"), &[]).unwrap_err().to_string();
        assert!(problems.contains("keystore.hsm.pin") && !problems.contains("1234"), "{problems}");
    }

    /// A token by URI or by pasted text is the same token as by settings; the result can be shown back, and a PIN is never taken.
    #[test]
    fn tokens_in_other_notations() {
        use super::super::KeystoreConfig;
        let shown = |settings: &str| match check(&format!("[[keystore]]\nname='hsm'\nkind='pkcs11'\n{settings}"), &[]) {
            Ok(config) => {
                let mut tokens = config.keystores.iter().filter(|keystore| matches!(keystore, KeystoreConfig::Pkcs11(_)));
                match tokens.next().unwrap() {
                    KeystoreConfig::Pkcs11(token) => token.to_string(),
                    KeystoreConfig::Group(_) | KeystoreConfig::Local { .. } | KeystoreConfig::Remote(_) => String::new(),
                }
            }
            Err(problems) => problems.to_string(),
        };
        let plain = shown("module='/m.so'\ntoken-label='t'\npin-file='/p'");
        assert_eq!(plain, "keystore hsm: PKCS#11 module /m.so, token labelled \"t\", PIN from file /p, workers 2");
        assert_eq!(shown("uri='pkcs11:token=t?module-path=/m.so&pin-source=file:/p'"), plain);
        assert_eq!(shown("uri='pkcs11:token=t?module-path=/m.so'\npin-file='/p'"), plain);
        assert_eq!(shown("uri='pkcs11:token=t'\nmodule='/m.so'\npin-file='/p'"), plain);
        assert_eq!(
            shown("sunpkcs11='''\nname = x\nlibrary = /m.so\nslotListIndex = 1\nattributes = compatibility\n'''\npin-credential='c'\nworkers=1"),
            "keystore hsm: PKCS#11 module /m.so, token in slot number 1 of the list, PIN from systemd credential c, workers 1; \
             not used: attributes"
        );
        for (settings, why) in [
            ("uri='pkcs11:token=t?module-path=/m.so&pin-value=1234'", "attribute pin-value is refused"),
            ("uri='pkcs11:?module-path=/m.so'\npin-file='/p'", "names no token"),
            ("uri='pkcs11:token=t'\npin-file='/p'", "keystore.hsm.module"),
            ("uri='pkcs11:token=t?module-path=/m.so'", "pin-file"),
            ("uri='pkcs11:token=t?module-path=/m.so'\nsunpkcs11='library=/m'\npin-file='/p'", "only one of"),
            ("uri='pkcs11:token=t?module-path=/m.so'\npin-file='/p'\ntoken-label='t'", "keystore.hsm.token-label"),
            ("sunpkcs11='library=m'\npin-file='/p'", "library is not an absolute path"),
        ] {
            let problems = shown(settings);
            assert!(problems.contains(why) && !problems.contains("1234"), "{settings}: {problems}");
        }
    }

    /// `--set` lays over the file, needs no quotes, and never takes a secret or an unknown name.
    #[test]
    fn overrides_win_and_refuse_secrets() {
        let file = "kmip.listen = '127.0.0.1:1'\nkmip.version_min = 1.2";
        let config = check(file, &["kmip.listen=127.0.0.1:0", "limits.idle_seconds=5", "kmip.rng_seed=16"]).unwrap();
        assert_eq!(config.kmip.listen.port(), 0);
        assert_eq!(config.kmip.version_min, (1, 2));
        assert_eq!(config.limits.idle, Duration::from_secs(5));
        assert_eq!(config.kmip.rng_seed, RngSeed::AtMost(16));
        let policies = config.kmip.policies();
        assert_eq!((policies["kmip.rng_seed"].as_str(), policies["kmip.version_min"].as_str()), ("16", "1.2"));
        assert_eq!((policies["kmip.certify"].as_str(), policies["kmip.interop"].as_str()), ("off", "false"));
        for refused in ["keystore.hsm.pin=1234", "seal.passphrase=x", "admin.password=x", "kmip.lisen=1", "x"] {
            assert!(check("", &[refused]).is_err(), "{refused} was accepted");
        }
        let secret = check("", &["keystore.hsm.pin=1234"]).unwrap_err();
        assert!(!secret.to_string().contains("1234"));
    }

    /// The HTTP listeners are open unless they are turned off, and their other settings are checked like all others.
    /// A sealed server is reached over HTTPS with a certificate of its own, or not at all.
    #[test]
    fn unsealing_over_https_needs_a_certificate() {
        assert!(check("", &[]).unwrap().unseal.is_none());
        let problems = check("", &["unseal.listen=127.0.0.1:0", "unseal.allow=here"]).unwrap_err();
        let names: Vec<&str> = problems.0.iter().map(|problem| problem.setting.as_str()).collect();
        assert_eq!(names, ["unseal.allow", "unseal.cert_file", "unseal.key_file"]);
        let config = check("[unseal]\nlisten = '127.0.0.1:7443'\ncert_file = 'c.pem'\nkey_file = 'k.pem'", &[]).unwrap();
        assert_eq!(config.unseal.map(|unseal| (unseal.listen.port(), unseal.key_file)), Some((7443, "k.pem".into())));
    }

    #[test]
    fn http_listeners_are_open_or_off() {
        let config = check("tls.hosts = '2001:db8::7, gw.example'", &["clients.listen=off", "admin.listen="]).unwrap();
        assert_eq!((config.http.clients, config.http.admin), (None, None));
        assert_eq!(config.http.public.map(|address| address.port()), Some(8080));
        assert!(config.http.admin_allow.allow([203, 0, 113, 1].into()));
        let url = |config: &Config, port| config.public_url(port).map(|url| url.to_string());
        assert_eq!(url(&config, 8080).as_deref(), Some("http://[2001:db8::7]:8080"));
        assert_eq!(url(&config, 0), None, "a listener that is off has no address to be written into certificates");
        let config = check("[public]\nurl = 'http://pki.example'\n[admin]\nallow = '192.0.2.0/24'", &[]).unwrap();
        assert_eq!(url(&config, 8080).as_deref(), Some("http://pki.example"));
        assert!(!config.http.admin_allow.allow([203, 0, 113, 1].into()) && config.http.admin_allow.allow([192, 0, 2, 9].into()));
        let wrong = ["clients.listen=here", "admin.allow=192.0.2.1/24", "public.url=https://pki.example", "limits.http_connections_max=0"];
        let problems = check("", &wrong).unwrap_err();
        let names: Vec<&str> = problems.0.iter().map(|problem| problem.setting.as_str()).collect();
        assert_eq!(names, ["clients.listen", "admin.allow", "public.url", "limits.http_connections_max"]);
    }
}
