//! ilagate: an Identifier-Locator Addressing (ILA) router and network virtualization edge.
//!
//! ILA splits an IPv6 address into a *locator*, the upper 64 bits, which routes to a host, and an *identifier*, the
//! lower 64 bits, which names a task or a tenant's system and never changes. Applications use SIR addresses: a SIR
//! prefix and an identifier. The wire carries ILA addresses: a locator and the identifier. A node rewrites between the
//! two in place, without encapsulation. When a workload moves, only its mapping from identifier to locator changes.
//!
//! This library is all of the programs `ilagate`, the data plane node, and `ilactl`, the operator's command line. The
//! files of `src/bin/` parse arguments and call it. `docs/architecture.md` tells the same story at more length, and
//! `CONTRIBUTING.md` says which files a change touches.
//!
//! # Layers
//!
//! Imports point one way, and `tests/imports.rs` fails on any other arrow:
//!
//! ```text
//! net ← ila ← {siit, mapping} ← table ← path ← {dpdk, node}
//! shared ← {config, table, nva, node}
//! net, ila, mapping ← config ← api ← {node, ctl}
//! dpdk ← node
//! ```
//!
//! Nothing from `net` to `path` logs, blocks, reads a clock or allocates for a packet. So all of it runs in plain tests
//! without DPDK. `unsafe` is allowed in `src/dpdk/`, `src/table/mem.rs` and `src/table/bucket.rs` only.
//!
//! [`net`] has the wire formats as views over bytes: Ethernet, ARP, IPv4, IPv6, ICMP, Neighbour Discovery, IGMP, MLD,
//! and the Internet checksum. One file is one protocol. It knows nothing of ILA, tables or devices.
//!
//! [`ila`] is the arithmetic of the ILA draft: identifiers and their types, SIR prefixes and locators, checksum-neutral
//! mapping, quoted packets. It looks nothing up.
//!
//! [`siit`] translates one packet between IPv4 and IPv6 (RFC 7915), with ICMP and fragments. It chooses no addresses
//! and sends nothing.
//!
//! [`shared`] has collections of which one state shares with the next what did not change. It knows nothing of what they
//! hold.
//!
//! [`mapping`] says what a mapping is and how it changes: record, origin, change, batch. These are plain values with
//! the rules that hold for one of them alone. `config`, `node` and `api` share them.
//!
//! [`table`] is what workers look up: mappings, source bindings, virtual networks, prefixes, policies, routes. One
//! [`table::Tables`] is one snapshot, which never changes; only single mappings change in place. `table::rcu` publishes
//! snapshots to workers, which never lock and never free one.
//!
//! [`path`] is the pipeline: it gives each packet of a burst exactly one verdict, and rewrites it in its buffer. It
//! knows no device.
//!
//! `dpdk` is the boundary to DPDK: environment, buffer pools, ports, bursts, transmit queues. It decides nothing about
//! a packet. It exists with the default feature `dpdk` only.
//!
//! [`node`] is the running node: the workers, the control thread, which is the only writer of what workers read,
//! metrics, the admin socket, and replay of captures. It never writes to the bytes of a packet on its way.
//!
//! [`config`] turns YAML into a [`config::Config`] that has passed every rule. It opens no device and no socket.
//!
//! [`api`] is what `ilactl` and integrators see of a node: the messages of `proto/`, the views that they carry, and the
//! conversion between the two. It only holds data.
//!
//! [`ctl`] is `ilactl`, a client of the admin API. It judges nothing that the node judges.
//!
//! # One packet
//!
//! 1. `node/worker.rs` polls a receive queue, and `dpdk/burst.rs` takes up to 64 buffers from it. The worker reads one
//!    snapshot for the whole burst and calls [`path::Pipeline::decide`].
//! 2. `path/mod.rs` tries the fast path first. `path/fast/` takes plain TCP and UDP: `admit.rs` checks the headers, and
//!    `mod.rs` and `tenants.rs` prefetch, look up and rewrite.
//! 3. All other packets pass the stages of `path/stage/`, in this order:
//!    * `parse` reads the headers of a packet.
//!    * `arrive` goes over the burst once. It has each packet parsed, hands tenants' packets to `path/admit/` and their
//!      ARP to `path/proxy/`, and has the destination classified.
//!    * `classify` says what the destination is: SIR, ILA, a group, this node or plain IPv6.
//!    * `lookup` finds the actions of all identifiers.
//!    * `translate` rewrites between SIR and ILA and delivers to attachments.
//!    * `gateway` forwards between virtual networks, for `translate`.
//!    * `route` routes what needs no translation.
//!    * `replicate` copies packets to the members of groups.
//!    * `fragment` fragments what came as IPv4 and became too long.
//!    * `local` serves packets to this node, with `path/proxy/`.
//!    * `icmp_error` tells senders of losses. Answers and errors then pass `classify`, `lookup`, `translate` and
//!      `route`.
//! 4. Both paths call `path/prefix.rs` for the meaning of a /64, `stage/lookup.rs` for bulk lookup and `path/rewrite/`
//!    for every change of a byte.
//! 5. `node/worker.rs` does what the verdicts of `path/verdict.rs` say. It sends through `dpdk/tx.rs`, hands packets to
//!    the control thread through `node/exchange.rs`, keeps those that wait for a neighbour in `node/waiting.rs`, and
//!    frees the rest.
//! 6. [`path::Pipeline::account`] counts the burst in `path/counters.rs` and `path/networks.rs`.
//!
//! # One mapping
//!
//! 1. It comes from YAML or from `ilactl`. `config/mappings.rs` reads the mapping file, on the thread of
//!    `node/watch.rs`. `ctl/mapping.rs` sends a message of `api/`, which `node/admin/` receives and judges by the
//!    configuration. Both become a batch of changes (`mapping/batch.rs`, `node/source.rs`).
//! 2. `node/control/updates.rs` takes one batch after the other through `node/rib/`. *Stage*: `rib/batch.rs` judges the
//!    whole batch and adds the actions that it needs. No worker sees anything yet.
//! 3. *Publish*, only if an action is new: `rib/compile.rs` renders a snapshot, `table/rcu.rs` puts it into the mailbox
//!    of each worker, and the control thread waits until every worker has it, while it goes on with other work.
//! 4. *Commit*: the mapping is written into the table of `table/mapping.rs` in place, by one store. So no worker ever
//!    sees a mapping whose action its snapshot lacks.
//! 5. *Release*: once every worker has the latest snapshot, the indices of actions that no mapping uses any more are
//!    free for new actions.
//! 6. The next packet to the identifier finds the mapping: the worker reads the bucket in `table/bucket.rs` and then
//!    the action in `table/action.rs`, one cache line each.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod config;
pub mod ctl;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod ila;
pub mod mapping;
pub mod net;
pub mod node;
pub mod nva;
pub mod path;
pub mod shared;
pub mod siit;
pub mod table;
pub mod telemetry;
pub mod tls;
