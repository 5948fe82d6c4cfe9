//! Who may speak with which source address on a port: one look for MAC address and source address together.

use super::NetworkId;
use super::mem::mixed;
use crate::net::Mac;

/// A MAC address with a source address that it is bound to, and the family's bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The MAC address as it stands in a frame, its first byte lowest; above it [`Binding::IPV4`] or [`Binding::IPV6`].
    who: u64,
    /// An IPv4 address, or the lower 32 bits of an address under the network's IPv6 prefix.
    address: u32,
}

impl Binding {
    const IPV4: u64 = 1 << 48;
    const IPV6: u64 = 1 << 49;
    const MAC: u64 = Self::IPV4 - 1;

    /// Of an IPv4 address and the MAC address in the lower 48 bits of `mac`, its first byte lowest.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4(mac: u64, address: u32) -> Self {
        Binding { who: mac & Self::MAC | Self::IPV4, address }
    }

    /// The same of an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn ipv6(mac: u64, low: u32) -> Self {
        Binding { who: mac & Self::MAC | Self::IPV6, address: low }
    }

    /// Odd: spreads bindings that differ in few bits.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

    #[inline(always)]
    fn hash(self) -> u32 {
        mixed((self.who ^ u64::from(self.address).rotate_left(32)).wrapping_mul(Self::MULTIPLIER))
    }
}

/// A MAC address as [`Binding`] takes it.
#[must_use]
pub fn raw(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// The bindings of one port's untagged tenants. What is looked up is anybody's choice, what is stored is the
/// operator's: nobody can make a search long.
#[derive(Debug, Clone, Default)]
pub struct SourceBindings {
    /// A power of two, at most half of them taken; each searched from where its hash says.
    slots: Vec<Slot>,
    taken: usize,
}

/// A binding and its network; free where no family's bit is set.
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
    /// Whether nobody sits here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Adds a binding.
    pub fn insert(&mut self, binding: Binding, network: NetworkId) {
        if (self.taken + 1) * 2 > self.slots.len() {
            let larger = vec![Slot::FREE; (self.slots.len() * 2).max(16)];
            let before = std::mem::replace(&mut self.slots, larger);
            before.into_iter().filter(|slot| !slot.is_free()).for_each(|slot| self.place(slot));
        }
        self.taken += 1;
        self.place(Slot { binding, network });
    }

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

    /// The network that a binding is good for.
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
