//! The ends of a policy.

/// The two ends of a policy, one of them a virtual network.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// Who sends: a virtual network, a task's SIR address, a SIR prefix for all its tasks, or outside
    pub from: String,
    /// Who receives
    pub to: String,
}
