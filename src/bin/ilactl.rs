//! The operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ilagate::ctl::main()
}
