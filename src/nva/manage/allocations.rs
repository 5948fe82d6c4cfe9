//! Blocks and locators in the operator's API.

use crate::api::manage::{self as v1, Resource as Kind};
use crate::ila::{Locator, SirPrefix};
use crate::net::Ipv6Prefix;
use crate::nva::authority::Authority;
use crate::nva::model::{Allocation, AllocationKey, Key, Resource};
use crate::nva::registry::Registry;
use tonic::Status;

/// Allocations of one page.
const PAGE: usize = 500;

/// Bits of a SIR address that name its block: the SIR prefix, type, C-bit and block.
const BLOCK_PREFIX: u8 = 92;

/// What somebody wants to see.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    kind: Kind,
    nve: String,
}

impl Filter {
    /// Reads a request.
    pub(super) fn read(request: v1::AllocationListRequest) -> Self {
        Filter { kind: request.resource(), nve: request.nve }
    }

    fn takes(&self, key: &AllocationKey, allocation: &Allocation) -> bool {
        let is_kind = match key.resource {
            Resource::Block(_) => self.kind != Kind::Locator,
            Resource::Locator(_) => self.kind != Kind::Block,
        };
        is_kind && (self.nve.is_empty() || self.nve == allocation.owner)
    }

    /// All that it takes, in pages.
    pub(super) fn pages(&self, authority: &Authority) -> Vec<v1::AllocationPage> {
        let registry = authority.registry();
        let all = registry.allocations().iter().filter(|(key, it)| self.takes(key, it));
        let shown: Vec<v1::Allocation> = all.map(|(key, it)| show(authority, registry, *key, it)).collect();
        shown.chunks(PAGE).map(|page| v1::AllocationPage { allocations: page.to_vec() }).collect()
    }
}

fn show(
    authority: &Authority,
    registry: &Registry,
    key: AllocationKey,
    allocation: &Allocation,
) -> v1::Allocation {
    let Allocation { owner, sequence, reached, returned, lease_ms: _ } = allocation.clone();
    let sir_prefix = key.sir_prefix;
    let shown = v1::Allocation {
        sir_prefix: SirPrefix(sir_prefix).to_string(),
        owner,
        sequence,
        returned,
        ..v1::Allocation::default()
    };
    match key.resource {
        Resource::Block(block) => {
            let first = SirPrefix(sir_prefix).with(block.range().0);
            let reached = (reached > 0).then(|| Key { sir_prefix, identifier: reached }.to_string());
            v1::Allocation {
                resource: Kind::Block.into(),
                prefix: Ipv6Prefix::covering(first, BLOCK_PREFIX).to_string(),
                block: block.number(),
                reached: reached.unwrap_or_default(),
                kept_s: registry.allocations().left_ms(key, authority.now_ms()).unwrap_or(0) / 1_000,
                ..shown
            }
        }
        Resource::Locator(locator) => v1::Allocation {
            resource: Kind::Locator.into(),
            prefix: locator.to_string(),
            configured: registry.is_configured(locator),
            ..shown
        },
    }
}

/// The locator that was allocated with this sequence.
pub(super) fn with_sequence(authority: &Authority, nve: &str, sequence: u64) -> Option<Locator> {
    let all = authority.registry().allocations().iter();
    let mut own = all.filter(|(_, allocation)| (&*allocation.owner, allocation.sequence) == (nve, sequence));
    own.find_map(|(key, _)| match key.resource {
        Resource::Locator(locator) => Some(locator),
        Resource::Block(_) => None,
    })
}

/// Reads a locator.
pub(super) fn read_locator(text: &str) -> Result<Locator, Status> {
    text.parse().map_err(|why| Status::invalid_argument(format!("`{}`: {why}", text.escape_debug())))
}
