//! The table of settings: name, default, meaning.

/// One setting of `keygate.toml`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Dotted name, kept stable.
    pub name: &'static str,
    /// The value where nothing is written.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning }
}

/// Every setting but the `[[keystore]]` tables.
pub const SETTINGS: &[Setting] = &[
    setting("kmip.listen", "0.0.0.0:5696", "KMIP over mutual TLS"),
    setting("kmip.version_min", "1.0", "lowest KMIP version answered"),
    setting("kmip.forbidden", "not-found", "how an object that is not granted is answered: not-found, permission-denied"),
    setting("kmip.interop", "false", "serve the Interop operation, for conformance tests"),
    setting("kmip.legacy_algorithms", "false", "let 3DES and other ciphers of 64-bit blocks protect new data, make keys for them and RSA pairs of 1024 bits, and let Certify take requests signed by SHA-1"),
    setting("kmip.rng_seed", "refuse", "how much of a seed RNG Seed takes: refuse (the operation), none, all, or a number of bytes; seeds are never trusted"),
    setting("kmip.log_operation", "false", "serve the Log operation: clients write to the gateway's log"),
    setting("kmip.async_answer_ms", "1000", "how long a request that may be answered later (Asynchronous Indicator) is waited for before the answer is Operation Pending; 0: not at all"),
    setting("kmip.async_begin_ms", "0", "how long after Operation Pending a request begins unless it is polled for or processed before; until then it can be canceled"),
    setting("kmip.split_key_polynomial", "polynomial-285", "GF(2^8) of split keys: polynomial-285 (0x11D, as the official test cases share), polynomial-283 (0x11B, FIPS 197); parts made here remember theirs"),
    setting("kmip.unique_names", "true", "refuse a Name that another object of the same owner has; some clients give several keys one name"),
    setting("kmip.no_encoding", "byte-string", "Key Value of a key wrapped with No Encoding: byte-string, or key-material (a structure that holds the bytes), as PyKMIP reads it"),
    setting("kmip.certify", "off", "serve Certify and Re-certify: off, own (by a CA made for this alone, kmip-certify-ca.pem in the data directory; clients choose the names it certifies)"),
    setting("kmip.certify_days", "397", "days that a certificate of Certify is valid, at most 3650"),
    setting("kmip.ticket_seconds_max", "3600", "longest time a ticket of Login or Delegated Login is good for, at most 604800 (a week)"),
    setting("kmip.locate_order", "newest", "order of what Locate finds where no group member is asked for: newest object first, or oldest"),
    setting("kmip.group_default", "newest", "default member of an object group: newest, or round-robin (the one after the member that Get handed out last)"),
    setting("kmip.endpoint_role", "false", "serve Set Endpoint Role (2.0 and later): a client may turn its connection round and be sent Notify and Put over it"),
    setting("kmip.hidden_operations", "", "operations that are refused and that Query does not tell of, separated by commas, such as Encrypt, RNGSeed"),
    setting("notify.queue_max", "1000", "most messages that wait for one client of [[endpoint]]; more are dropped and counted"),
    setting("notify.attempts_max", "10", "how often a message is tried before it is given up"),
    setting("notify.retry_seconds", "1", "wait before the second try; each further one is twice as long, at most 300 seconds"),
    setting("notify.timeout_seconds", "10", "longest wait for a connection to a client's endpoint, and for its answer"),
    setting("status.listen", "127.0.0.1:9696", "health, readiness, status, Prometheus metrics; plain HTTP"),
    setting("clients.listen", "0.0.0.0:8443", "enrolment of client machines (EST) and the REST key server, over TLS; off, or nothing between the quotes: not opened"),
    setting("rest.enabled", "auto", "serve the REST key server on clients.listen: auto (as soon as there is a user: keygate rest-user add), off"),
    setting("admin.listen", "127.0.0.1:9443", "administration over mutual TLS; off: not opened"),
    setting("admin.allow", "", "networks that administrators connect from, separated by commas, such as 192.0.2.0/24, 2001:db8::1; empty: every address"),
    setting("public.listen", "0.0.0.0:8080", "certificate status for relying parties, plain HTTP; off: not opened"),
    setting("public.url", "", "how relying parties reach public.listen, such as http://pki.example.com; written into certificates; empty: http:// with the first of tls.hosts and the port of public.listen"),
    setting("tls.hosts", "", "DNS names and addresses in the server certificate, separated by commas; empty: this host's name, localhost, 127.0.0.1, ::1"),
    setting("provisioning.block_list", "", "file of public keys that get no certificate, one fingerprint a line: SHA-256 of the SubjectPublicKeyInfo, or as in Debian's openssl-blacklist"),
    setting("audit.reads", "wait", "answer a read that releases key material after its audit commit (wait) or at once (defer)"),
    setting("seal.on_loss", "serve", "what losing the token whose seal slot opened the store does: serve, stop"),
    setting("seal.loss_seconds", "30", "how long that token may be away before the server stops"),
    setting("seal.wait", "false", "start sealed where the seal slots do not open, and wait for `keygate unseal`"),
    setting("unseal.listen", "off", "while the store is sealed: where officers give shares over HTTPS (keygate unseal --server); needs unseal.cert_file and unseal.key_file"),
    setting("unseal.cert_file", "", "certificate of unseal.listen, PEM, a file outside the sealed store"),
    setting("unseal.key_file", "", "key of that certificate, PEM, mode 0600; whoever has it can pose as this server and be handed shares"),
    setting("unseal.allow", "", "networks that unseal.listen takes connections from, as admin.allow; empty: every address"),
    setting("keystore.default", "local", "keystore of a new key where neither client nor request names one"),
    setting("keystore.check_seconds", "60", "how often each keystore in use is asked for a sign of life: cheap, it makes no key and offers no PIN; 0: never"),
    setting("log.format", "human", "human, json"),
    setting("log.level", "info", "filter, for example info or keygate=debug"),
    setting("limits.message_bytes_max", "1048576", "largest request message"),
    setting("limits.batch_items_max", "10000", "most batch items of a request"),
    setting("limits.depth_max", "32", "deepest nesting of a request"),
    setting("limits.connections_max", "2000", "most KMIP connections at a time"),
    setting("limits.http_connections_max", "2000", "most connections of each HTTP listener (clients, admin, public) at a time"),
    setting("limits.handshake_seconds", "10", "longest TLS handshake"),
    setting("limits.idle_seconds", "600", "longest silence between requests"),
    setting("limits.frame_seconds", "10", "longest time from first to last octet of a request"),
    setting("limits.write_seconds", "30", "longest time a client may take to read an answer"),
    setting("limits.drain_seconds", "10", "longest wait for requests under way at shutdown"),
    setting("limits.name_bytes_max", "255", "longest name"),
    setting("limits.attribute_bytes_max", "65536", "longest custom attribute value"),
    setting("limits.object_bytes_max", "524288", "largest managed object"),
    setting("limits.locate_page_max", "1000", "most identifiers in one Locate answer"),
    setting("limits.async_per_caller", "64", "most batch items of a client, or a user of one, that are pending or whose answers are kept"),
    setting("limits.async_total", "4096", "most of them of all clients"),
    setting("limits.async_bytes_max", "67108864", "most octets of requests and answers that are kept for them"),
    setting("limits.async_kept_seconds", "3600", "how long an answer can be polled for; none survives a restart"),
    setting("limits.objects_per_client", "0", "most managed objects of a client, destroyed ones not counted; 0: no quota"),
    setting("limits.objects_per_organisation", "0", "most managed objects of an organisation, destroyed ones not counted; 0: no quota"),
    setting("limits.requests_per_second_per_client", "0", "most KMIP batch items of a client in a second, two seconds' worth at once; 0: no quota"),
    setting("limits.requests_per_second_per_organisation", "0", "most KMIP batch items of all clients of an organisation in a second; 0: no quota"),
    setting("limits.certificates_per_client", "32", "most certificates of an enrolled client that are valid at a time; 0: no quota"),
    setting("limits.certificates_per_organisation", "1000000", "most certificates of provisioning keys that an organisation has on record; 0: no quota"),
];

pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Whether the last part of a name says that its value is a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    ["pin", "passphrase", "password", "secret", "token", "credential", "private-key", "private_key"].contains(&last.as_str())
}

/// What to say of a name that is not in the table.
pub(super) fn unknown(name: &str) -> String {
    if names_a_secret(name) {
        return "settings hold no secrets; name a file, a file descriptor or a systemd credential".into();
    }
    let alike = SETTINGS.iter().map(|setting| (distance(name, setting.name), setting.name)).min();
    match alike {
        Some((steps, known)) if steps <= 3 => format!("unknown setting, did you mean {known}?"),
        _ => "unknown setting".into(),
    }
}

/// Edit distance of two short names.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
