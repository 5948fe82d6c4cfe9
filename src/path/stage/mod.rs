//! The stages of the pipeline, in the order in which they run.

pub(super) mod arrive;
pub(super) mod classify;
pub(super) mod fragment;
pub(super) mod gateway;
pub(super) mod icmp_error;
pub(super) mod local;
pub(super) mod lookup;
pub(super) mod parse;
pub(super) mod replicate;
pub(super) mod route;
pub(super) mod translate;
