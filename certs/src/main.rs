//! Writes development certificates: `certs [--dir certs] [NAME …]`.

use std::error::Error as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Completes a folder with a development CA, server and client certificates.
///
/// Nothing that exists is overwritten.
#[derive(Parser)]
#[command(name = "certs", version)]
struct Arguments {
    /// The folder; made if it is not there.
    #[arg(long, default_value = "certs")]
    dir: PathBuf,
    /// Make the RSA pair that signs tokens as well.
    #[arg(long)]
    jwt: bool,
    /// Further host names and IP addresses for the server certificates.
    names: Vec<String>,
}

fn main() -> ExitCode {
    match write(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("certs: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn write(arguments: &Arguments) -> Result<(), certs::CertsError> {
    let made = certs::ensure(&arguments.dir, &arguments.names)?;
    let jwt =
        if arguments.jwt { certs::ensure_jwt_keys(&arguments.dir)?.created } else { Vec::new() };
    for path in made.created.iter().chain(&jwt) {
        println!("created {}", path.display());
    }
    for (path, at) in &made.expires {
        println!("{} is valid until {}", path.display(), at.date());
    }
    Ok(())
}
