//! The views as messages and back, field by field.

use super::v1;
use super::views::*;
use crate::mapping::Applied;
use std::net::Ipv6Addr;

/// Why a message is not what the node sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` in the node's answer makes no sense; use an ilactl of the node's version")]
pub struct Malformed(String);

/// A value that travels.
pub trait Wire: Sized {
    /// What it travels as.
    type Message;

    /// As a message.
    fn message(self) -> Self::Message;

    /// From a message.
    ///
    /// # Errors
    /// [`Malformed`] with the value that no node of this version sends: an address that is none, a number
    /// beyond its type, or a network that is missing.
    fn read(message: Self::Message) -> Result<Self, Malformed>;
}

/// Values that travel as they are.
macro_rules! plain {
    ($($plain:ty),*) => { $(
        impl Wire for $plain {
            type Message = $plain;
            fn message(self) -> $plain {
                self
            }
            fn read(message: $plain) -> Result<Self, Malformed> {
                Ok(message)
            }
        }
    )* };
}

/// Numbers that travel in a wider type.
macro_rules! widened {
    ($($narrow:ty),*) => { $(
        impl Wire for $narrow {
            type Message = u32;
            fn message(self) -> u32 {
                self.into()
            }
            fn read(message: u32) -> Result<Self, Malformed> {
                message.try_into().map_err(|_| Malformed(message.to_string()))
            }
        }
    )* };
}

/// Structs whose fields have the same names in the message.
macro_rules! same {
    ($($view:ident is $message:ident { $($field:ident),* })*) => { $(
        impl Wire for $view {
            type Message = v1::$message;
            fn message(self) -> v1::$message {
                v1::$message { $($field: self.$field.message()),* }
            }
            fn read(message: v1::$message) -> Result<Self, Malformed> {
                Ok($view { $($field: Wire::read(message.$field)?),* })
            }
        }
    )* };
}

plain!(String, bool, u64, u32, f64);
widened!(u8, u16);

same! {
    Applied is Applied { revision, created, changed, deleted }
    MappingView is Mapping { sir, domain, identifier, kind, locators, attachment, origin, covers, confidence }
    LocatorView is Locator { locator, priority, weight, ila, state }
    NodeView is Node {
        name, version, uptime_s, revision, snapshot, last_update_us, config, tables, workers, originated,
        mbufs_in_use, mbufs, warnings, authority
    }
    AuthorityView is Authority { session, applied, registered, refused, left_out, stale_s, grace_over }
    TableView is Table { domain, sir_prefix, checksum, mappings, capacity, memory_bytes }
    WorkerView is Worker { worker, core, bursts, empty_polls, idle_ratio, burst_fill, snapshot, fates }
    ReloadView is Reload { applied, mappings }
    PortView is Port {
        name, device, role, mac, mtu, up, speed_mbps, problem, queues, rss, addresses, link_local, counters, sent,
        unsent, sent_bytes, xstats
    }
    NeighbourView is Neighbour { port, address, mac, state, age_ms, next_hop }
    RouteView is Route { prefix, kind, next_hops }
    NextHopView is NextHop { via, port, weight, state }
    DropView is Drop { reason, sentence, dropped, answered, lost_copies }
    EventView is Event { seq, time_ms, attachment, network, vnid, kind, address, mac, packets, seconds }
    StatsView is StatsSample { at_us, workers, ports }
    PrefixView is Prefix { prefix, gateway }
    GroupView is Group { network, group, attachment, kind, expires_s, locators }
    PolicyView is Policy { from, to, via, origin }
    PeerView is Peer { network, address, to, of, origin }
    AttachmentView is Attachment { name, port, vlan, mac, network, addresses, identifiers, refused, quarantined, silent, origin, presence }
    RefusedView is Refused { kind, packets }
    NetworkView is Network { name, vnid, domain, mac, mtu, prefixes, attachments, mappings, counters, origin }
}

impl Wire for NetworkCountersView {
    type Message = Option<v1::NetworkCounters>;

    fn message(self) -> Self::Message {
        let NetworkCountersView {
            own,
            from_tenants,
            from_tenants_bytes,
            to_tenants,
            to_tenants_bytes,
            dropped,
        } = self;
        Some(v1::NetworkCounters {
            own,
            from_tenants,
            from_tenants_bytes,
            to_tenants,
            to_tenants_bytes,
            dropped,
        })
    }

    fn read(message: Self::Message) -> Result<Self, Malformed> {
        let v1::NetworkCounters {
            own,
            from_tenants,
            from_tenants_bytes,
            to_tenants,
            to_tenants_bytes,
            dropped,
        } = message.unwrap_or_default();
        Ok(NetworkCountersView {
            own,
            from_tenants,
            from_tenants_bytes,
            to_tenants,
            to_tenants_bytes,
            dropped,
        })
    }
}

impl Wire for NetworkDetailView {
    type Message = v1::NetworkDetail;

    fn message(self) -> v1::NetworkDetail {
        let NetworkDetailView { network, policies, peers } = self;
        v1::NetworkDetail {
            network: Some(network.message()),
            policies: policies.message(),
            peers: peers.message(),
        }
    }

    fn read(message: v1::NetworkDetail) -> Result<Self, Malformed> {
        let v1::NetworkDetail { network, policies, peers } = message;
        let network = network.ok_or_else(|| Malformed("network".to_owned()))?;
        Ok(NetworkDetailView {
            network: Wire::read(network)?,
            policies: Wire::read(policies)?,
            peers: Wire::read(peers)?,
        })
    }
}

impl Wire for Ipv6Addr {
    type Message = String;

    fn message(self) -> String {
        self.to_string()
    }

    fn read(message: String) -> Result<Self, Malformed> {
        message.parse().map_err(|_| Malformed(message))
    }
}

impl Wire for (String, u64) {
    type Message = v1::DeviceCounter;

    fn message(self) -> v1::DeviceCounter {
        v1::DeviceCounter { name: self.0, value: self.1 }
    }

    fn read(message: v1::DeviceCounter) -> Result<Self, Malformed> {
        Ok((message.name, message.value))
    }
}

impl Wire for FateView {
    type Message = Option<v1::Fates>;

    fn message(self) -> Option<v1::Fates> {
        let FateView {
            received,
            received_bytes,
            forwarded,
            replied,
            punted,
            dropped,
            waiting,
            copied,
            lost_copies,
        } = self;
        Some(v1::Fates {
            received,
            received_bytes,
            forwarded,
            replied,
            punted,
            dropped,
            waiting,
            copied,
            lost_copies,
        })
    }

    fn read(message: Option<v1::Fates>) -> Result<Self, Malformed> {
        let v1::Fates {
            received,
            received_bytes,
            forwarded,
            replied,
            punted,
            dropped,
            waiting,
            copied,
            lost_copies,
        } = message.unwrap_or_default();
        Ok(FateView {
            received,
            received_bytes,
            forwarded,
            replied,
            punted,
            dropped,
            waiting,
            copied,
            lost_copies,
        })
    }
}

impl<T: Wire> Wire for Option<T> {
    type Message = Option<T::Message>;

    fn message(self) -> Self::Message {
        self.map(Wire::message)
    }

    fn read(message: Self::Message) -> Result<Self, Malformed> {
        message.map(Wire::read).transpose()
    }
}

impl<T: Wire> Wire for Vec<T> {
    type Message = Vec<T::Message>;

    fn message(self) -> Self::Message {
        self.into_iter().map(Wire::message).collect()
    }

    fn read(message: Self::Message) -> Result<Self, Malformed> {
        message.into_iter().map(Wire::read).collect()
    }
}
