//! The Network Virtualization Authority (NVA): who has which identifier, and who must know (VMM draft §4, RFC 8014).
//!
//! Cores without clock, socket, thread and file:
//! * `registry` has the rules of identifiers (`tombstones`: what was released, `bindings`: by MAC address, `restoration`: after a backup, `digests`:
//!   what it adds up to, `quotas`: what networks may have, `flaps`: what goes to and fro), `catalogue` those of networks,
//!   policies and attachments (`allocate`: what operators leave open, `claims`: whose an identifier is by that),
//!   `allocations` blocks of identifiers and locators;
//! * `authority` has the sessions around them: `session` one of them, `sessions` all, `commits` what they ask for, `log` what they are
//!   told, `interest` what they asked for, `provision` what operators want at them, `absent` what those without a session
//!   may use, `triangles` what routers tell, `elsewhere` who is at another authority, `drift` when they compare what they
//!   have, `bucket` what each may take, `rates` how often one identifier may change;
//! * `mobility` is what moves attachments from one NVE to another: its states, and both halves of what is said of it;
//! * `failover` is what gives an attachment to another NVE of its group when one is lost: the groups, who counts as lost,
//!   the brake, and both halves of what is said of it;
//! * `client` is the NVE's half of a session: `follower` what it is told, `comparison` what of it differs, `cache` what it
//!   asks for (`waiting`: in which order), `wanted` what operators want, `blocks` those of identifiers that it leases, `addresses` what it asks for
//!   tenants without one.
//!
//! `event` is what operators are told of as it happens, `throttle` how much of it one by one, `convergence` how long
//! changes take until they are in force. `watch` has those who are told, and `scope` what each wants and may see.
//!
//! `store` makes transactions durable, in a file or in an etcd that several authorities share; `mirror` is the file in
//! which an NVE keeps what it knows. `server` (`inbox`: what it hears), `listen`, `gate`, `manage`, `page`, `metrics` and `reload` are the shells
//! around the authority, which `serve` puts together and `run` makes a program.

mod absent;
mod addresses;
mod allocate;
pub mod allocations;
mod attached;
pub mod authority;
mod beside;
mod bindings;
mod blocks;
mod bucket;
mod cache;
pub mod catalogue;
mod claims;
pub mod client;
pub mod codec;
mod commits;
mod comparison;
pub mod convergence;
mod counts;
mod digests;
mod drift;
mod elsewhere;
pub mod event;
pub mod failover;
mod gate;
mod inbox;
mod finds;
mod flaps;
mod follower;
mod interest;
mod key;
mod listen;
pub mod log;
mod malformed;
mod manage;
pub mod message;
pub mod metrics;
pub mod mirror;
pub mod mobility;
pub mod model;
mod owner;
mod page;
mod provision;
mod quotas;
mod rates;
pub mod registry;
mod reload;
mod restoration;
pub mod run;
mod scope;
pub mod serve;
pub mod server;
mod session;
mod sessions;
pub mod store;
mod throttle;
mod tombstones;
mod triangles;
mod waiting;
mod wanted;
mod watch;

/// Messages, client and server, made from the `.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("ilagate.nva.v1");
}

/// Largest message in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
