//! Goal: the soak itself works, and each of its faults, alone, harms nothing that was acknowledged.
//! Method: `make soak` in small: few clients, each fault once in a fixed order, held until clients have noticed; then everything is
//! looked at. It cannot wait for chance: what is random is seeded.

use std::time::Duration;

use keygate_tests::soak::{Course, Plan, run};
use keygate_tests::tools;

#[test]
fn each_fault_alone_harms_nothing() {
    if ["softhsm", "pykmip", "soak"].into_iter().any(tools::skipped) {
        return;
    }
    let plan = Plan {
        seed: 1,
        clients: 16,
        course: Course::EachOnce,
        only: Vec::new(),
        // A debug build beside other tests.
        local_p99_max: Duration::from_secs(3),
    };
    let report = run(&plan, &|line| println!("{line}")).expect("the soak runs");
    println!("{report}");
    assert!(report.wrong.is_empty(), "{report}");
}
