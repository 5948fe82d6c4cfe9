//! Hosts outside a virtual network that its tenants know by an IPv4 address of their own network (ILA draft §5.11, §5.13).

/// Peers: who outside of a network has an IPv4 address in it (ILA draft §5.11, ILA draft §5.13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    by_ipv4: Vec<(u32, u128)>,
    by_ipv6: Vec<(u128, u32)>,
}

impl Peers {
    /// Peers from pairs of mapped IPv4 address and the peer's own address: a SIR address, or an IPv6 address of the
    /// peer's network. No address may stand in two pairs.
    #[must_use]
    pub fn new(pairs: impl Iterator<Item = (u32, u128)>) -> Self {
        let mut by_ipv4: Vec<_> = pairs.collect();
        by_ipv4.sort_unstable();
        let mut by_ipv6: Vec<_> = by_ipv4.iter().map(|(ipv4, ipv6)| (*ipv6, *ipv4)).collect();
        by_ipv6.sort_unstable();
        Peers { by_ipv4, by_ipv6 }
    }

    /// The address of the peer that a mapped IPv4 address stands for.
    #[must_use]
    pub fn ipv6(&self, address: u32) -> Option<u128> {
        let at = self.by_ipv4.binary_search_by_key(&address, |pair| pair.0).ok()?;
        Some(self.by_ipv4.get(at)?.1)
    }

    /// The mapped IPv4 address of a peer.
    #[must_use]
    pub fn ipv4(&self, address: u128) -> Option<u32> {
        let at = self.by_ipv6.binary_search_by_key(&address, |pair| pair.0).ok()?;
        Some(self.by_ipv6.get(at)?.1)
    }
}
