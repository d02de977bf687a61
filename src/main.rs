//! The binary: reads the command line and tells the outcome by exit code (`spec/cli.md`).

use std::process::ExitCode;

/// Batches of events come and go by the megabyte: this one gives pages back and takes them again more cheaply.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    usage_rollup::cli::main()
}
