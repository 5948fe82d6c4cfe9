//! The bindings that bindgen generates from DPDK's headers: types, constants and functions with their C names.

#![allow(unsafe_code, missing_docs, unreachable_pub, dead_code)]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all, clippy::pedantic, unsafe_op_in_unsafe_fn)]

include!(concat!(env!("OUT_DIR"), "/dpdk.rs"));
