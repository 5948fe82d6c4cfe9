//! Source bindings: which source addresses a MAC address may use on a port (ILA draft §6, VMM draft §10). One lookup
//! checks MAC address and source address together.

use super::NetworkId;
use super::mem::mixed;
use crate::net::Mac;
use std::sync::Arc;

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

/// Shards of a port's bindings, one of which a change copies: a power of two.
const SHARDS: usize = 64;

/// The source bindings of one port's untagged tenants: an open-addressed hash table in shards that copies share.
///
/// Only the operator decides what is stored, so no sender can make a search long.
#[derive(Debug, Clone)]
pub struct SourceBindings {
    /// Each is empty or a power of two of slots, at most half of them taken. A search begins at the hash and goes up.
    shards: [Arc<[Slot]>; SHARDS],
    /// Taken slots by shard.
    counts: [usize; SHARDS],
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

impl Default for SourceBindings {
    fn default() -> Self {
        let empty: Arc<[Slot]> = Arc::new([]);
        SourceBindings { shards: std::array::from_fn(|_| empty.clone()), counts: [0; SHARDS], taken: 0 }
    }
}

/// The shard of a hash: by other bits than those that say where in the shard.
#[inline(always)]
fn shard(hash: u32) -> usize {
    (hash >> (32 - SHARDS.trailing_zeros())) as usize
}

impl SourceBindings {
    /// Whether there are no bindings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Adds a binding of a tenant of `network`.
    pub fn insert(&mut self, binding: Binding, network: NetworkId) {
        self.remove(binding);
        let at = shard(binding.hash());
        let slots = &mut self.shards[at];
        self.counts[at] += 1;
        let wanted = (self.counts[at] * 2).next_power_of_two().max(8);
        if wanted > slots.len() {
            let mut larger = vec![Slot::FREE; wanted];
            slots.iter().filter(|slot| !slot.is_free()).for_each(|slot| place(&mut larger, *slot));
            *slots = larger.into();
        }
        place(Arc::make_mut(slots), Slot { binding, network });
        self.taken += 1;
    }

    /// Takes a binding out, if it is there.
    pub fn remove(&mut self, binding: Binding) {
        if self.find(binding).is_none() {
            return;
        }
        let at = shard(binding.hash());
        let slots = &mut self.shards[at];
        let mut fewer = vec![Slot::FREE; slots.len()];
        let stays = slots.iter().filter(|slot| !slot.is_free() && slot.binding != binding);
        stays.for_each(|slot| place(&mut fewer, *slot));
        *slots = fewer.into();
        self.counts[at] -= 1;
        self.taken -= 1;
    }

    /// The network of the tenant with this binding.
    #[inline]
    #[must_use]
    pub fn find(&self, binding: Binding) -> Option<NetworkId> {
        let hash = binding.hash();
        let slots = &self.shards[shard(hash)];
        let mask = slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            let slot = slots.get(at)?;
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

/// Puts a slot into the first free place from its hash on.
fn place(slots: &mut [Slot], new: Slot) {
    let mask = slots.len().wrapping_sub(1);
    let mut at = new.binding.hash() as usize & mask;
    while let Some(slot) = slots.get_mut(at) {
        if slot.is_free() {
            *slot = new;
            return;
        }
        at = (at + 1) & mask;
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
        // So a search ends, and soon.
        let taken = |slots: &[Slot]| slots.iter().filter(|slot| !slot.is_free()).count();
        assert!(bindings.shards.iter().all(|slots| slots.len() >= 2 * taken(slots) && taken(slots) > 50));
        let kept = bindings.clone();
        for n in (0..5000).filter(|n| n % 2 == 0) {
            bindings.remove(Binding::ipv4(mac(n / 3), n));
            bindings.remove(Binding::ipv4(mac(n / 3), n));
        }
        assert_eq!(bindings.taken, 7500);
        for n in 0..5000 {
            let binding = Binding::ipv4(mac(n / 3), n);
            assert_eq!(bindings.find(binding).is_some(), n % 2 == 1);
            assert_eq!(kept.find(binding), Some(NetworkId(n as u16)));
        }
    }
}
