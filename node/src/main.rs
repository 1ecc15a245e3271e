//! The `tidings` program: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidings_node::memory::share_heaps();
    tidings_node::cli::main()
}
