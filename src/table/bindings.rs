//! Source bindings: which source addresses a MAC address may use on a port (ILA draft §6, VMM draft §10). One lookup
//! checks MAC address and source address together.

use super::NetworkId;
use super::mem::mixed;
use crate::net::Mac;

/// A MAC address and a source address that is bound to it, with a bit for the address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The MAC address, its first byte lowest. Above it is [`Binding::IPV4`] or [`Binding::IPV6`].
    who: u64,
    /// An IPv4 address, or the lower 32 bits of an address under the network's IPv6 prefix.
    address: u32,
}

impl Binding {
    const IPV4: u64 = 1 << 48;
    const IPV6: u64 = 1 << 49;
    const MAC: u64 = Self::IPV4 - 1;

    /// The binding of an IPv4 address to the MAC address in the lower 48 bits of `mac`, its first byte lowest.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4(mac: u64, address: u32) -> Self {
        Binding { who: mac & Self::MAC | Self::IPV4, address }
    }

    /// The binding of an IPv6 address, by its lower 32 bits, to such a MAC address.
    #[inline(always)]
    #[must_use]
    pub const fn ipv6(mac: u64, low: u32) -> Self {
        Binding { who: mac & Self::MAC | Self::IPV6, address: low }
    }

    /// Odd multiplier: mixes bindings that differ in few bits. It is no secret, because only the operator chooses them.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

    #[inline(always)]
    fn hash(self) -> u32 {
        mixed((self.who ^ u64::from(self.address).rotate_left(32)).wrapping_mul(Self::MULTIPLIER))
    }
}

/// A MAC address as [`Binding`] takes it: its first byte lowest.
#[must_use]
pub fn raw(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// The source bindings of one port's untagged tenants: an open-addressed hash table.
///
/// Only the operator decides what is stored, so no sender can make a search long.
#[derive(Debug, Clone, Default)]
pub struct SourceBindings {
    /// A power of two of slots, at most half of them taken. A search begins at the hash and goes up.
    slots: Vec<Slot>,
    taken: usize,
}

/// A binding and its network. The slot is free if the binding has no family bit.
#[derive(Debug, Clone, Copy)]
struct Slot {
    binding: Binding,
    network: NetworkId,
}

impl Slot {
    const FREE: Slot = Slot { binding: Binding { who: 0, address: 0 }, network: NetworkId(0) };

    #[inline(always)]
    fn is_free(self) -> bool {
        self.binding.who == 0
    }
}

impl SourceBindings {
    /// Whether there are no bindings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Adds a binding of a tenant of `network`.
    pub fn insert(&mut self, binding: Binding, network: NetworkId) {
        if (self.taken + 1) * 2 > self.slots.len() {
            let larger = vec![Slot::FREE; (self.slots.len() * 2).max(16)];
            let before = std::mem::replace(&mut self.slots, larger);
            before.into_iter().filter(|slot| !slot.is_free()).for_each(|slot| self.place(slot));
        }
        self.taken += 1;
        self.place(Slot { binding, network });
    }

    /// Puts a slot into the first free place from its hash on.
    fn place(&mut self, new: Slot) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = new.binding.hash() as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.is_free() {
                *slot = new;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// The network of the tenant with this binding.
    #[inline]
    #[must_use]
    pub fn find(&self, binding: Binding) -> Option<NetworkId> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = binding.hash() as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.binding == binding {
                return Some(slot.network);
            }
            if slot.is_free() {
                return None;
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_is_found_and_no_other() {
        let mut bindings = SourceBindings::default();
        assert!(bindings.is_empty() && bindings.find(Binding::ipv4(0, 0)).is_none());
        let mac = |n: u32| raw(Mac([2, 0, 0, (n >> 16) as u8, (n >> 8) as u8, n as u8]));
        for n in 0..5000 {
            bindings.insert(Binding::ipv4(mac(n / 3), n), NetworkId(n as u16));
            bindings.insert(Binding::ipv6(mac(n / 3), n), NetworkId(1 + n as u16));
            // So a search ends, and soon.
            assert!(bindings.slots.len() >= 2 * bindings.taken);
        }
        for n in 0..5000 {
            assert_eq!(bindings.find(Binding::ipv4(mac(n / 3), n)), Some(NetworkId(n as u16)));
            assert_eq!(
                bindings.find(Binding::ipv6(mac(n / 3) | 0xffff << 48, n)),
                Some(NetworkId(1 + n as u16))
            );
            assert_eq!(bindings.find(Binding::ipv4(mac(n / 3), n + 5000)), None);
            assert_eq!(bindings.find(Binding::ipv4(mac(n / 3 + 2000), n)), None);
        }
    }
}
