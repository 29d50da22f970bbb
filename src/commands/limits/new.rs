//! `tidegate limits new`.

use super::print;
use crate::cli::NewArgs;
use miette::Result;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use tidegate_sim::scenario::profile::TEMPLATE;

/// Writes the template where no file is.
pub(super) fn new(args: &NewArgs) -> Result<ExitCode> {
    let path = args.path.display();
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&args.path);
    match created.and_then(|mut file| file.write_all(TEMPLATE.as_bytes())) {
        Ok(()) => {
            print(&format!("{path}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(miette::miette!(
            help = "name a file that does not exist",
            "`{path}` exists; it stays as it is"
        )),
        Err(error) => Err(miette::miette!(
            help = "name a file in a folder that exists",
            "`{path}` cannot be written: {error}"
        )),
    }
}
