//! Goal: KMIP clients that others wrote work as they are: cyphera-kmip with all of its operations, libmongocrypt in both of its ways.
//! Method: the packages themselves (`tests/setup.sh` installs them), driven by the scripts in `tests/clients`; what a client asks that no
//! version of KMIP has is refused with the reason, and its connection goes on.

use std::collections::BTreeMap;
use std::process::Command;

use keygate_tests::gateway::{Setup, TestGateway, workspace};
use keygate_tests::tools;

/// Runs a script of `tests/clients` as client `a` and returns what it printed.
fn run(gateway: &TestGateway, script: &str, more: &[&str]) -> String {
    let address = gateway.address("kmip");
    let output = Command::new(tools::clients_python())
        .arg(workspace().join("tests/clients").join(script))
        .args(["localhost", &address.port().to_string()])
        .arg(gateway.client_folder("a"))
        .args(more)
        .output()
        .expect("python runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn every_operation_of_cyphera_kmip() {
    if tools::skipped("kmip-clients") {
        return;
    }
    let gateway = Setup::new().start();
    let printed = run(&gateway, "cyphera.py", &[]);
    let outcomes: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once(": ")).collect();
    // What the client sends for these is of no version of KMIP: it has wrong numbers for some tags (Data is 4200C2, not 420033), other
    // structures, another order. Refused, each with what is wrong; Poll is, for want of anything to poll for.
    let refused = [
        ("create_key_pair", "Template-Attribute is not expected here"),
        ("decrypt", "Destroy Date is not expected here"),
        ("delete_attribute", "Attribute Name is missing"),
        ("derive_key", "Object Type is missing"),
        ("encrypt", "Destroy Date is not expected here"),
        ("get_destroyed", "the object is destroyed"),
        ("mac", "Destroy Date is not expected here"),
        ("poll", "the server said: "),
        ("register", "Template-Attribute is missing"),
        ("revoke", "Revocation Reason is missing"),
        ("sign", "Destroy Date is not expected here"),
        ("signature_verify", "Destroy Date is not expected here"),
    ];
    for (name, outcome) in &outcomes {
        match refused.iter().find(|(refused, _)| refused == name) {
            None => assert_eq!(*outcome, "ok", "{name}\n{printed}"),
            Some((_, why)) => assert!(*outcome != "ok" && outcome.contains(why), "{name}: {outcome}\n{printed}"),
        }
    }
    assert_eq!(outcomes.len(), 32, "{printed}");
}

/// Fact 8: KMIP 1.0 Register of 96 bytes of Secret Data without algorithm, length or usage, Activate, Get.
#[test]
fn libmongocrypt_keeps_its_master_key_here() {
    if tools::skipped("kmip-clients") {
        return;
    }
    let gateway = Setup::new().start();
    let key = run(&gateway, "mongocrypt.py", &["normal"]);
    let shown = gateway.keygate_ok(&["keys", "show", key.trim()]);
    assert!(shown.contains("SecretData") && shown.contains("Active"), "{shown}");
}

/// KMIP 1.2 Create, Activate, Encrypt, Decrypt: the master key never leaves.
#[test]
fn libmongocrypt_has_its_data_keys_encrypted_here() {
    if tools::skipped("kmip-clients") {
        return;
    }
    let gateway = Setup::new().start();
    let key = run(&gateway, "mongocrypt.py", &["delegated"]);
    let shown = gateway.keygate_ok(&["keys", "show", key.trim()]);
    assert!(shown.contains("SymmetricKey") && shown.contains("Active"), "{shown}");
    let audit = gateway.keygate_ok(&["audit", "search", "--json"]);
    assert!(
        audit.contains("\"Encrypt\"") && audit.contains("\"Decrypt\"") && !audit.contains("\"Get\""),
        "the key was used, not fetched"
    );
}
