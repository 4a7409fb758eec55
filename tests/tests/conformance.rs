//! Goal: the gateway answers the OASIS test cases as they expect, and never fewer of them than before.
//! Method: every case of 1.0 to 2.1 on a server of its own, over TLS in TTLV and again as XML and as JSON over HTTPS. The number that
//! passes in TTLV is compared with the checked-in floor, and no case may end otherwise in another encoding.

use keygate_tests::cases::report;
use keygate_tests::cases::suite::{self, Server};
use keygate_tests::cases::transport::Encoding;
use keygate_tests::{gateway, tools};

#[test]
fn oasis_cases_do_not_regress() {
    if tools::skipped("kmip-cases") {
        return;
    }
    let Some(folder) = suite::folder() else {
        return tools::note_skipped("kmip-cases", "the folder is absent; KEYGATE_KMIP_CASES names it");
    };
    let entries = suite::manifest(&folder).expect("a manifest");
    let outcomes = suite::play_all(&folder, &Server::Own, &suite::groups(&entries), &suite::ENCODINGS, &|_| ());
    gateway::remove_template();
    println!("{}", report::summary(&outcomes));
    std::fs::write(tools::target().join("cases.json"), report::json(&outcomes).to_string())
        .expect("target is writable");
    let path = gateway::workspace().join("tests/conformance-floor");
    let floor: usize = std::fs::read_to_string(path).expect("a floor").trim().parse().expect("a number");
    let different = report::disagreements(&outcomes);
    let bare: Vec<_> = outcomes.into_iter().filter(|outcome| outcome.encoding == Encoding::Ttlv).collect();
    let passed = report::passed(&bare);
    assert!(passed >= floor, "{passed} cases pass, {floor} did before; failing:\n{}", report::markdown(&bare));
    assert!(different.is_empty(), "{} cases differ by encoding:\n{}", different.len(), different.join("\n"));
}
