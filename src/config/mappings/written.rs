//! Mappings as they are written, for programs that pass them on to a node.

use crate::mapping::LocatorChoice;

/// One mapping as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenMapping {
    /// SIR address.
    pub sir: String,
    /// Where it is; what the file leaves out has its default.
    pub locators: Vec<LocatorChoice>,
    /// Whether packets to it are to be dropped.
    pub blackhole: bool,
}
