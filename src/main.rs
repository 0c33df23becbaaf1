//! Parses the arguments, runs one command, turns its outcome into an exit code.

use std::process::ExitCode;

/// Sealing and decoding make many small allocations on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    custody::cli::main(std::env::args_os())
}
