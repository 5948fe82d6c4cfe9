//! The keys as they stand in the file: every scalar is text with its place, nothing is judged yet.
//!
//! Scalars are read as text so that a wrong number is our error, with path and way out, and so that one bad
//! value does not hide the next. Unknown and repeated keys are refused here, by the parser.

use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use std::fmt;

/// The word in `attachments[].addresses` for what an authority allocates when the tenant asks by RARP.
pub(super) const ON_RARP: &str = "on-rarp";

/// A scalar and where it stands.
pub(super) type Text = Spanned<String>;
/// A list whose entries know where they stand.
pub(super) type List<T> = Option<Spanned<Vec<Spanned<T>>>>;

/// Lists the paths of all keys below a type; the reference file is tested against it.
pub(super) trait Schema {
    /// Appends the paths of all leaves, `[]` for a list.
    #[cfg_attr(not(test), allow(dead_code))]
    fn leaves(path: &str, into: &mut Vec<String>);
}

impl Schema for String {
    fn leaves(path: &str, into: &mut Vec<String>) {
        into.push(path.to_owned());
    }
}

impl<T: Schema> Schema for Option<T> {
    fn leaves(path: &str, into: &mut Vec<String>) {
        T::leaves(path, into);
    }
}

impl<T: Schema> Schema for Spanned<T> {
    fn leaves(path: &str, into: &mut Vec<String>) {
        T::leaves(path, into);
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn leaves(path: &str, into: &mut Vec<String>) {
        T::leaves(&format!("{path}[]"), into);
    }
}

/// Declares raw structs: every key optional (what is required is judged later), unknown keys refused.
macro_rules! raw {
    ($($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $( #[serde(default, skip_serializing_if = "Option::is_none")] pub(super) $field: $type, )*
        }

        impl Schema for $name {
            fn leaves(path: &str, into: &mut Vec<String>) {
                $(
                    let key = stringify!($field).trim_start_matches("r#");
                    let below = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                    <$type as Schema>::leaves(&below, into);
                )*
            }
        }
    )* };
}

raw! {
    /// The whole file.
    RawConfig {
        node: Option<Spanned<RawNode>>,
        dpdk: Option<Spanned<RawDpdk>>,
        mbufs: Option<Spanned<RawMbufs>>,
        sir_domains: List<RawDomain>,
        locators: List<RawLocator>,
        ports: List<RawPort>,
        virtual_networks: List<RawNetwork>,
        policies: List<RawPolicy>,
        attachments: List<RawAttachment>,
        routes: List<RawRoute>,
        neighbours: Option<Spanned<RawNeighbours>>,
        mappings: Option<Spanned<RawMappings>>,
        infrastructure: List<String>,
        quarantine: Option<Spanned<RawQuarantine>>,
        icmp: Option<Spanned<RawIcmp>>,
        translation: Option<Spanned<RawTranslation>>,
        neighbour_discovery: Option<Spanned<RawDiscovery>>,
        multicast: Option<Spanned<RawMulticast>>,
        moves: Option<Spanned<RawMoves>>,
        nva: Option<Spanned<RawNva>>,
        metrics: Option<Spanned<RawMetrics>>,
        admin: Option<Spanned<RawAdmin>>,
        log: Option<Spanned<RawLog>>,
    }
    /// `node`
    RawNode { name: Option<Text>, state_dir: Option<Text> }
    /// `dpdk`
    RawDpdk {
        workers: List<String>,
        control_core: Option<Text>,
        idle: Option<Text>,
        huge: Option<Text>,
        memory_mib: Option<Text>,
        log_level: Option<Text>,
        extra_args: List<String>,
    }
    /// `mbufs`
    RawMbufs { count: Option<Text>, data_bytes: Option<Text>, cache: Option<Text> }
    /// `sir_domains[]`
    RawDomain {
        name: Option<Text>,
        prefix: Option<Text>,
        checksum: Option<Text>,
        on_miss: Option<Text>,
        skip_unchecked: Option<Text>,
        router_mac: Option<Text>,
        vni: Option<Text>,
        expected_mappings: Option<Text>,
    }
    /// `locators[]`
    RawLocator { prefix: Option<Text>, domain: Option<Text> }
    /// `ports[]`
    RawPort {
        name: Option<Text>,
        device: Option<Text>,
        role: Option<Text>,
        mac: Option<Text>,
        queues: Option<Text>,
        descriptors: Option<Text>,
        mtu: Option<Text>,
        addresses: List<String>,
        promiscuous: Option<Text>,
        vlan: Option<Text>,
        router_advertisement: Option<Spanned<RawAdvertisement>>,
        external: Option<Spanned<RawExternal>>,
    }
    /// `ports[].external`
    RawExternal { ingress: Option<Text>, allow_sources: List<String>, allow_destinations: List<String> }
    /// `ports[].router_advertisement`
    RawAdvertisement {
        lifetime_s: Option<Text>,
        prefix: Option<Text>,
        on_link: Option<Text>,
        autonomous: Option<Text>,
        interval_s: Option<Text>,
    }
    /// `virtual_networks[]`
    RawNetwork {
        name: Option<Text>,
        vnid: Option<Text>,
        domain: Option<Text>,
        mac: Option<Text>,
        mtu: Option<Text>,
        ipv6: Option<Spanned<RawNetworkIpv6>>,
        ipv4: List<RawNetworkIpv4>,
        peers: List<RawPeer>,
        limits: Option<Spanned<RawLimits>>,
        received_copies: Option<Spanned<RawLimit>>,
        replicate_to: List<String>,
        exclusive: Option<Text>,
    }
    /// `virtual_networks[].ipv6`
    RawNetworkIpv6 { prefix: Option<Text>, gateway: Option<Text> }
    /// `virtual_networks[].ipv4[]`
    RawNetworkIpv4 { prefix: Option<Text>, gateway: Option<Text> }
    /// `virtual_networks[].peers[]`
    RawPeer { address: Option<Text>, to: Option<Spanned<RawPeerTo>> }
    /// `virtual_networks[].peers[].to` of a tenant
    RawPeerTenant { network: Option<Text>, address: Option<Text> }
    /// `policies[]`
    RawPolicy { from: Option<Text>, to: Option<Text>, via: Option<Text> }
    /// `attachments[]`
    RawAttachment {
        name: Option<Text>,
        port: Option<Text>,
        vlan: Option<Text>,
        mac: Option<Text>,
        identifiers: List<String>,
        prefixes: List<String>,
        network: Option<Text>,
        addresses: List<String>,
        limits: Option<Spanned<RawLimits>>,
        groups: List<String>,
    }
    /// `virtual_networks[].limits`, `attachments[].limits`
    RawLimits {
        arp: Option<Spanned<RawLimit>>,
        nd: Option<Spanned<RawLimit>>,
        rarp: Option<Spanned<RawLimit>>,
        dad: Option<Spanned<RawLimit>>,
        unknown: Option<Spanned<RawLimit>>,
        icmp_errors: Option<Spanned<RawLimit>>,
        copies: Option<Spanned<RawLimit>>,
    }
    /// One of them, `virtual_networks[].received_copies`
    RawLimit { per_second: Option<Text>, burst: Option<Text> }
    /// `quarantine`
    RawQuarantine {
        drops_per_second: Option<Text>,
        seconds: Option<Text>,
        duration_s: Option<Text>,
        mode: Option<Text>,
    }
    /// `routes[]`
    RawRoute {
        prefix: Option<Text>,
        via: Option<Text>,
        port: Option<Text>,
        next_hops: List<RawNextHop>,
        blackhole: Option<Text>,
    }
    /// `routes[].next_hops[]`
    RawNextHop { via: Option<Text>, port: Option<Text>, weight: Option<Text> }
    /// `neighbours`
    RawNeighbours { r#static: List<RawNeighbour> }
    /// `neighbours.static[]`
    RawNeighbour { port: Option<Text>, address: Option<Text>, mac: Option<Text> }
    /// `mappings`
    RawMappings {
        file: Option<Text>,
        watch: Option<Text>,
        max_bytes: Option<Text>,
        max_deletions_percent: Option<Text>,
    }
    /// `icmp`
    RawIcmp { errors_per_second: Option<Text>, burst: Option<Text> }
    /// `translation`
    RawTranslation { lowest_ipv6_mtu: Option<Text>, missing_udp_checksum: Option<Text> }
    /// `neighbour_discovery`
    RawDiscovery {
        reachable_ms: Option<Text>,
        retransmit_ms: Option<Text>,
        probes: Option<Text>,
        hold_packets: Option<Text>,
    }
    /// `moves`
    RawMoves {
        in_flight: Option<Text>,
        hold_packets: Option<Text>,
        hold_bytes: Option<Text>,
        hold_ms: Option<Text>,
        release_per_second: Option<Text>,
        departed: Option<Text>,
        scan_per_second: Option<Text>,
        scan_interval_s: Option<Text>,
        silence_questions: Option<Text>,
    }
    /// `multicast`
    RawMulticast {
        query_interval_s: Option<Text>,
        groups_per_tenant: Option<Text>,
        groups_per_network: Option<Text>,
    }
    /// `nva`
    RawNva {
        endpoints: List<String>,
        embedded: Option<Spanned<RawEmbedded>>,
        tls: Option<Spanned<RawTls>>,
        mode: Option<Text>,
        provision: Option<Text>,
        grace_s: Option<Text>,
        after_grace: Option<Text>,
        scopes: List<RawScope>,
        blocks: List<String>,
    }
    /// `nva.scopes[]`
    RawScope { domain: Option<Text>, vnid: Option<Text>, prefix: Option<Text> }
    /// `nva.embedded`
    RawEmbedded { config: Option<Text> }
    /// `nva.tls`
    RawTls {
        certificate: Option<Text>,
        key: Option<Text>,
        authorities: Option<Text>,
        revoked: Option<Text>,
    }
    /// `metrics`
    RawMetrics { listen: Option<Text>, networks: Option<Text> }
    /// `admin`
    RawAdmin { socket: Option<Text> }
    /// `log`
    RawLog { level: Option<Text>, format: Option<Text> }

    /// The whole file of `ila-nva`.
    RawAuthority {
        nva: Option<Spanned<RawAuthorityName>>,
        listen: List<String>,
        tls: Option<Spanned<RawAuthorityTls>>,
        store: Option<Spanned<RawStore>>,
        sessions: Option<Spanned<RawSessions>>,
        sir_domains: List<RawAuthorityDomain>,
        nves: List<RawNve>,
        locator_pools: List<RawLocatorPool>,
        quotas: List<RawQuota>,
        freeze: Option<Spanned<RawFreeze>>,
        moves: Option<Spanned<RawMoveTimers>>,
        failover: Option<Spanned<RawAuthorityFailover>>,
        operators: List<RawOperator>,
        metrics: Option<Spanned<RawAuthorityMetrics>>,
        page: Option<Spanned<RawPage>>,
        log: Option<Spanned<RawAuthorityLog>>,
    }
    /// `nva` of `ila-nva`
    RawAuthorityName { name: Option<Text> }
    /// `tls` of `ila-nva`
    RawAuthorityTls {
        certificate: Option<Text>,
        key: Option<Text>,
        authorities: Option<Text>,
        revoked: Option<Text>,
    }
    /// `store`
    RawStore { path: Option<Text>, etcd: Option<Spanned<RawEtcd>> }
    /// `store.etcd`
    RawEtcd {
        endpoints: List<String>,
        prefix: Option<Text>,
        certificate: Option<Text>,
        key: Option<Text>,
        authorities: Option<Text>,
    }
    /// `sessions`
    RawSessions {
        lease_s: Option<Text>,
        hold_down_s: Option<Text>,
        restore_wait_s: Option<Text>,
        cache_lifetime_s: Option<Text>,
        requests_per_second: Option<Text>,
        digest_s: Option<Text>,
        block_lease_s: Option<Text>,
    }
    /// `sir_domains[]` of `ila-nva`
    RawAuthorityDomain { name: Option<Text>, prefix: Option<Text> }
    /// `nves[]`
    RawNve {
        name: Option<Text>,
        locators: List<RawLocator>,
        max_identifiers: Option<Text>,
        networks: Option<Text>,
        router: Option<Text>,
        vtep: Option<Text>,
    }
    /// `failover` of `ila-nva`
    RawAuthorityFailover {
        grace_s: Option<Text>,
        brake_nodes: Option<Text>,
        brake_percent: Option<Text>,
        brake_within_s: Option<Text>,
        per_nve: Option<Text>,
    }
    /// `moves` of `ila-nva`
    RawMoveTimers {
        prepare_s: Option<Text>,
        prepared_s: Option<Text>,
        detached_s: Option<Text>,
        spread_s: Option<Text>,
        drain_idle_s: Option<Text>,
        drain_s: Option<Text>,
        abort_s: Option<Text>,
        per_nve: Option<Text>,
    }
    /// `locator_pools[]` of `ila-nva`
    RawLocatorPool { domain: Option<Text>, prefix: Option<Text> }
    /// `freeze` of `ila-nva`
    RawFreeze { changes: Option<Text>, within_s: Option<Text>, for_s: Option<Text> }
    /// `quotas[]` of `ila-nva`
    RawQuota { domain: Option<Text>, vnid: Option<Text>, max_identifiers: Option<Text> }
    /// `operators[]` of `ila-nva`
    RawOperator { name: Option<Text>, role: Option<Text>, networks: List<String> }
    /// `page`
    RawPage { listen: Option<Text>, hosts: List<String> }
    /// `metrics` of `ila-nva`
    RawAuthorityMetrics { listen: Option<Text> }
    /// `log` of `ila-nva`
    RawAuthorityLog { level: Option<Text> }
}

/// `virtual_networks[].peers[].to`: the SIR address of a task, or a tenant.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum RawPeerTo {
    Task(String),
    Tenant(RawPeerTenant),
}

impl Schema for RawPeerTo {
    fn leaves(path: &str, into: &mut Vec<String>) {
        String::leaves(path, into);
        RawPeerTenant::leaves(path, into);
    }
}

impl<'de> Deserialize<'de> for RawPeerTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PeerToVisitor)
    }
}

struct PeerToVisitor;

impl<'de> Visitor<'de> for PeerToVisitor {
    type Value = RawPeerTo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SIR address, or network and address")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawPeerTenant::deserialize(MapAccessDeserializer::new(map)).map(RawPeerTo::Tenant)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RawPeerTo::Task(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(RawPeerTo::Task(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(RawPeerTo::Task(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(RawPeerTo::Task(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(RawPeerTo::Task(value.to_string()))
    }
}
