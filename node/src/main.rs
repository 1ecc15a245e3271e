//! The `tidings` program: parse, run, exit.

use clap::Parser;
use std::process::ExitCode;
use tidings_node::cli::{self, args::Cli};

fn main() -> ExitCode {
    cli::main(Cli::parse())
}
