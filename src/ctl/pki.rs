//! `ilactl pki`: certificates for a lab. Asks no node.

use super::args::PkiCommand;
use super::error::CtlError;
use super::output::Output;
use crate::tls::pki::{Issued, issue, make_authority};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct View<'v> {
    certificate: &'v Path,
    key: &'v Path,
    serial: &'v str,
}

pub(super) fn run(out: &mut Output<'_>, command: &PkiCommand) -> Result<(), CtlError> {
    let issued = match command {
        PkiCommand::Init { dir, domain, days } => make_authority(dir, domain, *days)?,
        PkiCommand::Issue { identity, dir, days } => issue(dir, &identity.parse()?, *days)?,
    };
    let Issued { certificate, key, serial } = &issued;
    if out.json() {
        return out.value(&View { certificate, key, serial });
    }
    out.line(&format!("certificate  {}", certificate.display()))?;
    out.line(&format!("key          {}", key.display()))?;
    out.line(&format!("serial       {serial}"))
}
