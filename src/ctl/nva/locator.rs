//! A locator of a record, as operators see it.

use crate::api::manage as v1;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct LocatorView {
    pub(super) locator: String,
    pub(super) priority: u32,
    pub(super) weight: u32,
}

pub(super) fn locator(at: v1::RecordLocator) -> LocatorView {
    LocatorView { locator: at.prefix, priority: at.priority, weight: at.weight }
}
