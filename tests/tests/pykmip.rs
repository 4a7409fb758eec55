//! Goal: an unmodified PyKMIP 0.11 works, judged by its own integration suite.
//! Method: the suite of its source distribution (`tests/setup.sh` fetches it), with a private home folder that holds its
//! configuration, against a gateway with an empty store: it counts what Locate finds.

use std::fs;
use std::process::Command;

use keygate_tests::gateway::Setup;
use keygate_tests::tools;

#[test]
fn pykmip_integration_suite_passes_but_for_what_is_known() {
    if tools::skipped("pykmip") {
        return;
    }
    let python = tools::python();
    let suite = tools::target().join("pykmip-sdist");
    let gateway = Setup::new().set("kmip.legacy_algorithms", "true").start();
    let home = gateway.scratch().join("home");
    fs::create_dir_all(home.join(".pykmip")).expect("a folder");
    let client = gateway.client_folder("a");
    let address = gateway.address("kmip");
    let settings = [
        ("host", address.ip().to_string()),
        ("port", address.port().to_string()),
        ("certfile", client.join("cert.pem").display().to_string()),
        ("keyfile", client.join("key.pem").display().to_string()),
        ("ca_certs", client.join("ca.pem").display().to_string()),
        ("cert_reqs", "CERT_REQUIRED".to_owned()),
        ("ssl_version", "PROTOCOL_SSLv23".to_owned()),
        ("do_handshake_on_connect", "True".to_owned()),
        ("suppress_ragged_eofs", "True".to_owned()),
        ("username", "None".to_owned()),
        ("password", "None".to_owned()),
    ];
    let text: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::write(home.join(".pykmip/pykmip.conf"), format!("[client]\n{text}")).expect("a configuration");
    let output = Command::new(python)
        .args(["-m", "pytest", "kmip/tests/integration", "--config", "client", "-m", "not ignore"])
        .args(["-q", "-p", "no:cacheprovider", "--tb=short", "--disable-warnings"])
        .current_dir(suite)
        .env("HOME", &home)
        .output()
        .expect("python runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let summary = printed.lines().last().unwrap_or_default();
    println!("{summary}");
    let failed: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("FAILED ")?.split(" - ").next()?.rsplit("::").next())
        .collect();
    println!("{} of 37 pass; failing: {failed:?}", 37 - failed.len());
    assert!(summary.contains("passed"), "{printed}");
    let unexpected: Vec<_> = failed.iter().filter(|name| !KNOWN_FAILURES.iter().any(|(known, _)| known == *name)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}\n{printed}");
}

/// What does not pass yet, and why.
const KNOWN_FAILURES: &[(&str, &str)] = &[
    ("test_derive_key_using_encryption", "Derive Key is not there"),
    ("test_derive_key_using_hash", "Derive Key is not there"),
    ("test_derive_key_using_hmac", "Derive Key is not there"),
    ("test_derive_key_using_nist_800_108c", "Derive Key is not there"),
    ("test_derive_key_using_pbkdf2", "Derive Key is not there"),
    ("test_create_get_wrapped_destroy", "reads a key wrapped without encoding as a Key Value structure"),
    ("test_symmetric_key_create_getattributes_locate_destroy", "gives two keys one name"),
    ("test_create_getattributes_locate_destroy", "gives two keys one name"),
    ("test_modify_delete_attribute", "creates an IDEA key, which the server does not make"),
];
