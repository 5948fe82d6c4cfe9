//! ilagate: an Identifier-Locator Addressing router and network virtualization edge.
//!
//! Layers, imports pointing one way: `net ← ila ← {siit, mapping} ← table ← path ← {dpdk, node}`; `config`
//! sees `net`, `ila` and `mapping`; `api`, the admin API's messages and views, sees these and `config`;
//! `ctl`, the operator's command line, sees `api` and not `node`.
//!
//! The life of a packet: a worker (`node::worker`) receives a burst from a port (`dpdk::burst`), lends it to the
//! pipeline (`path`), which parses, classifies, looks up, translates and routes it against one snapshot of the tables
//! (`table`), and leaves each packet with one verdict; the burst then sends, answers, punts or frees.

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
pub mod path;
pub mod siit;
pub mod table;
