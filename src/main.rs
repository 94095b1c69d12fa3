//! The `larder` command.

fn main() -> std::process::ExitCode {
    #[cfg(feature = "failpoints")]
    if let Err(error) = larder::failpoint::arm() {
        eprintln!("error: {error}");
        return std::process::ExitCode::FAILURE;
    }
    larder::cli::run()
}
