//! A PKCS#11 worker process and nothing else, for the tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(keygate_backends::pkcs11::worker_main())
}
