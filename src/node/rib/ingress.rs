//! Compiles what ports admit: the sources of tasks, what is inside, what tenants cannot reach, and the exceptions of
//! external ports.

use super::{Rib, attachment_key};
use crate::config::{self, Attachment, Role};
use crate::table::ranges::PrefixSet;
use crate::table::{Exceptions, Ingress, Inside, TaskSources, Tasks};

/// What an external port admits.
pub(super) fn external(external: &config::External) -> Ingress {
    match external.ingress {
        config::Ingress::Open => Ingress::Open,
        config::Ingress::Strict => Ingress::Strict(Exceptions {
            sources: PrefixSet::of(external.allow_sources.iter().copied()),
            destinations: PrefixSet::of(external.allow_destinations.iter().copied()),
        }),
    }
}

impl Rib {
    /// All tasks that are here, with the sources that they may use.
    pub(super) fn tasks(&self) -> Tasks {
        let tasks = self.attachments.list().iter().filter(|attachment| {
            attachment.network.is_none() && !self.presences.is_away(attachment_key(attachment))
        });
        let mut all = Tasks::with_hasher(self.hasher());
        all.extend(tasks.map(|task| (attachment_key(task), self.task(task))));
        all
    }

    /// The sources that a task may use.
    pub(super) fn task(&self, task: &Attachment) -> TaskSources {
        let address = |own: &config::LocalIdentifier| {
            Some(self.domains.get(usize::from(own.domain))?.config.prefix.with(own.identifier))
        };
        let addresses = task.identifiers.iter().filter_map(address).collect();
        TaskSources { addresses, prefixes: PrefixSet::of(task.prefixes.iter().copied()) }
    }

    /// The prefixes that tenants cannot reach: those of the configuration, and the subnets of this node's ports, in
    /// which the next hops are.
    pub(super) fn infrastructure(&self) -> PrefixSet {
        let subnets = self.ports.iter().flat_map(|port| &port.addresses).map(|own| own.prefix);
        PrefixSet::of(self.infrastructure.iter().copied().chain(subnets))
    }

    /// What is inside, beside SIR prefixes, locators and the prefixes of virtual networks.
    pub(super) fn inside(&self) -> Inside {
        let subnets = |roles: &'static [Role]| {
            let ports = self.ports.iter().filter(|port| roles.contains(&port.role));
            ports.flat_map(|port| &port.addresses).map(|own| own.prefix)
        };
        let infrastructure = || self.infrastructure.iter().copied();
        Inside {
            sources: PrefixSet::of(
                infrastructure()
                    .chain(subnets(&[Role::Fabric, Role::Access]))
                    .chain(self.attachments.prefixes()),
            ),
            destinations: PrefixSet::of(infrastructure().chain(subnets(&[Role::Fabric]))),
        }
    }
}
