//! What can be said of a request without the control thread.

use crate::api::MAX_BATCH;
use tonic::Status;

/// Longest name in a request that an answer quotes.
pub(super) const MAX_NAME_BYTES: usize = 64;

/// Refuses an empty batch, and one that is too large; `what` it is of, in the plural.
pub(super) fn batch_size(count: usize, what: &str) -> Result<(), Status> {
    match count {
        0 => Err(Status::invalid_argument(format!("no {what} given; name 1 to {MAX_BATCH}"))),
        1..=MAX_BATCH => Ok(()),
        _ => Err(Status::invalid_argument(format!(
            "{count} {what} in one batch; send {MAX_BATCH} at most, or use the mapping file"
        ))),
    }
}

pub(super) fn no_network(name: &str) -> String {
    let name: String = name.chars().take(MAX_NAME_BYTES).collect();
    format!("`{name}` is no virtual network; `ilactl vn list` shows them")
}

pub(super) fn no_mapping(sir: &str) -> Status {
    Status::not_found(format!("{sir} has no mapping; `ilactl mapping list` shows what is there"))
}
