//! `table::rcu` of ilagate as it is written, on loom's types.

#[allow(missing_docs)]
pub mod rcu {
    include!(concat!(env!("OUT_DIR"), "/rcu.rs"));
}
pub mod sync;
