//! The Network Virtualization Authority (NVA): who has which identifier, and who must know (VMM draft §4, RFC 8014).
//!
//! Cores without clock, socket, thread and file:
//! * `registry` has the rules of identifiers (`tombstones`: what was released, `restoration`: after a backup, `digests`:
//!   what it adds up to, `quotas`: what networks may have,
//!   `flaps`: what goes to and fro), `catalogue`
//!   those of networks, policies and attachments (`allocate`: what operators leave open);
//! * `authority` has the sessions around them: `session` one of them, `commits` what they ask for, `log` what they are
//!   told, `interest` what they asked for, `provision` what operators want at them, `absent` what those without a session
//!   may use, `triangles` what routers tell, `drift` when they compare what they have, `bucket` what each may take;
//! * `client` is the NVE's half of a session: `follower` what it is told, `comparison` what of it differs, `cache` what it
//!   asks for, `wanted` what operators want.
//!
//! `store` makes transactions durable, in a file or in an etcd that several authorities share; `mirror` is the file in
//! which an NVE keeps what it knows. `server`, `listen`, `manage`, `metrics` and `reload` are the shells around the
//! authority, which `serve` puts together and `run` makes a program.

mod absent;
mod allocate;
pub mod authority;
mod bucket;
mod cache;
pub mod catalogue;
pub mod client;
pub mod codec;
mod commits;
mod comparison;
mod counts;
mod digests;
mod drift;
mod flaps;
mod follower;
mod interest;
mod listen;
pub mod log;
mod manage;
pub mod message;
pub mod metrics;
pub mod mirror;
pub mod model;
mod provision;
mod quotas;
mod refusals;
pub mod registry;
mod reload;
mod restoration;
pub mod run;
pub mod serve;
pub mod server;
mod session;
pub mod store;
mod tombstones;
mod triangles;
mod wanted;

/// Messages, client and server, made from the `.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("ilagate.nva.v1");
}

/// Largest message in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
