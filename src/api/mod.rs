//! What `ilactl` and integrators see of a node: the messages of the admin API
//! (`proto/ilagate/admin/v1/admin.proto`), the views that they carry, and the conversion between the two.
//!
//! Only data: who serves the API is `node::admin`, who calls it is `ctl`.

pub mod views;
pub mod wire;

/// Messages, client and server, made from the `.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("ilagate.admin.v1");
}

/// The operator's API of an authority, made from `proto/ilagate/manage/v1/manage.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod manage {
    tonic::include_proto!("ilagate.manage.v1");
}

/// Most changes of one batch.
pub const MAX_BATCH: usize = 10_000;
/// Largest request in bytes: a full batch with every locator.
pub const MAX_REQUEST_BYTES: usize = 32 << 20;
