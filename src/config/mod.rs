//! YAML to a [`Config`] that cannot be wrong (`dpdk-config/reference.yaml` lists every key).
//!
//! Text becomes raw structs whose scalars know their place (`raw`), these are judged by every rule (`check`),
//! and only a file without errors becomes a [`Config`]. All errors of a file are reported together, each with
//! file, line, column, path, value and the way out. Nothing here opens devices or sockets; [`mappings`] reads
//! the second file.

mod amend;
mod authority;
mod check;
pub mod device;
mod diff;
pub mod error;
mod endpoint;
mod file;
pub mod lint;
mod load;
mod lookup;
pub mod mappings;
pub mod model;
mod provision;
mod raw;
mod store;
mod yaml;

#[cfg(test)]
mod tests;

pub use amend::{Amendment, AmendmentRules, PeerWords, PolicyWords};
pub use authority::{AuthorityConfig, AuthorityFreeze, OperatorRights, OperatorRole, PageConfig};
pub use diff::{Change, ChangeKind};
pub use endpoint::NvaEndpoint;
pub use error::{ConfigError, ConfigErrors};
pub use file::{Fingerprint, read as read_file};
pub use load::Source;
pub use model::*;
pub use provision::{
    Basis, Claim, Entry, Judged, MAX_ENTRY_BYTES, ObjectName, ProvisionRules, RefusedEntry, Room, Step,
    Summary,
};
pub use store::{EtcdConfig, StoreConfig};
