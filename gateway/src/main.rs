//! The `keygate` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: keygate::wiping::WipingAllocator = keygate::wiping::WipingAllocator;

fn main() -> ExitCode {
    keygate::cli::main()
}
