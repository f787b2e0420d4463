//! The `halfwarp` program: the library behind a command line. Each command is one file in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
