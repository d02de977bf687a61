//! The binary: reads the command line and tells the outcome by exit code (`spec/cli.md`).

use std::process::ExitCode;

fn main() -> ExitCode {
    usage_rollup::cli::main()
}
