//! Goal: an unmodified PyKMIP 0.11 works, judged by its own integration suite.
//! Method: the suite of its source distribution (`tests/setup.sh` fetches it), with a private home folder that holds its
//! configuration, against a gateway with an empty store: it counts what Locate finds.

use std::fs;
use std::process::Command;

use keygate_tests::gateway::Setup;
use keygate_tests::tools;

#[test]
fn pykmip_integration_suite_passes() {
    if tools::skipped("pykmip") {
        return;
    }
    let python = tools::python();
    let suite = tools::target().join("pykmip-sdist");
    let gateway = Setup::new()
        // The suite creates an IDEA key and derives from a Blowfish key.
        .set("kmip.legacy_algorithms", "true")
        // It gives two keys one name.
        .set("kmip.unique_names", "false")
        // It reads a key wrapped with No Encoding as a structure.
        .set("kmip.no_encoding", "key-material")
        .start();
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
    assert!(failed.is_empty(), "{failed:?}\n{printed}");
    assert!(summary.starts_with("37 passed"), "{summary}");
}

/// What the README shows is what works.
#[test]
fn the_lines_of_the_readme_work() {
    if tools::skipped("pykmip") {
        return;
    }
    let gateway = Setup::new().start();
    let readme = include_str!("../../README.md");
    let lines = readme.split("```python").nth(1).and_then(|rest| rest.split("```").next()).expect("the README shows Python");
    let address = gateway.address("kmip");
    let lines = lines
        .replace("keygate-data/clients/first", &gateway.client_folder("a").display().to_string())
        .replace("5696", &address.port().to_string());
    let output = Command::new(tools::python()).args(["-c", &lines]).output().expect("python runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let key = printed.trim().trim_start_matches("b'").trim_end_matches('\'');
    assert!(key.len() == 64 && key.bytes().all(|digit| digit.is_ascii_hexdigit()), "not an AES-256 key: {printed:?}");
}
