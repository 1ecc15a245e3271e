//! The `tidings` program: parse, run, exit.

use clap::Parser;
use std::process::ExitCode;
use tidings_node::cli::{self, args::Cli};
use tidings_node::memory;

fn main() -> ExitCode {
    memory::share_heaps();
    cli::main(Cli::parse())
}
