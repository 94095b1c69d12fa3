//! The `larder` command.

fn main() -> std::process::ExitCode {
    larder::cli::run()
}
