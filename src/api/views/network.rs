//! Virtual networks, who is attached, policies, mapped peers, groups, and what happens to tenants.

use serde::Serialize;

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkView {
    /// Name.
    pub name: String,
    /// Virtual network identifier.
    pub vnid: u32,
    /// Name of the SIR domain of its identifiers.
    pub domain: String,
    /// MAC address of the gateway.
    pub mac: String,
    /// Largest packet in bytes that tenants may send.
    pub mtu: u16,
    /// Its prefixes with their gateways, IPv6 first.
    pub prefixes: Vec<PrefixView>,
    /// Tenants attached to this node.
    pub attachments: u64,
    /// Mappings of its addresses, those attached here among them.
    pub mappings: u64,
    /// What the workers counted of its tenants' packets.
    pub counters: NetworkCountersView,
    /// Who made it: `config` or `nva`.
    pub origin: String,
}

/// A prefix of a virtual network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixView {
    /// IPv6 or IPv4 prefix.
    pub prefix: String,
    /// The gateway's address.
    pub gateway: Option<String>,
}

/// Packets of the tenants that are attached to this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NetworkCountersView {
    /// Whether they are counted for this network alone; otherwise for all networks beyond the limit together.
    pub own: bool,
    /// Packets that its tenants sent.
    pub from_tenants: u64,
    /// Their bytes, as sent.
    pub from_tenants_bytes: u64,
    /// Packets delivered to its tenants.
    pub to_tenants: u64,
    /// Their bytes, as delivered.
    pub to_tenants_bytes: u64,
    /// Packets from or to its tenants that were lost, whether or not an ICMP error was sent.
    pub dropped: u64,
}

/// A virtual network with everything around it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkDetailView {
    /// The network itself.
    #[serde(flatten)]
    pub network: NetworkView,
    /// Policies that name it.
    pub policies: Vec<PolicyView>,
    /// Its mapped peers.
    pub peers: Vec<PeerView>,
}

/// A member of a group on this node, or where copies of a network's packets to groups go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupView {
    /// Name of the network.
    pub network: String,
    /// The group; none: all groups without a mapping of their own.
    pub group: Option<String>,
    /// Name of the member, or its place in the configuration; none for copies.
    pub attachment: Option<String>,
    /// `static`, `joined` or `copies`.
    pub kind: String,
    /// Seconds until what was joined ends, unless the member reports again; none for other kinds.
    pub expires_s: Option<u64>,
    /// The locators of other nodes that get a copy; empty for members.
    pub locators: Vec<String>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyView {
    /// Who sends: a network, a task's SIR address, a SIR prefix, or `outside`.
    pub from: String,
    /// Who receives.
    pub to: String,
    /// Locator of the gateway that the packets go through.
    pub via: Option<String>,
    /// `config` or `admin`.
    pub origin: String,
}

/// A mapped peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerView {
    /// Name of the network.
    pub network: String,
    /// The peer's IPv4 address there.
    pub address: String,
    /// A task's SIR address, or a tenant's address.
    pub to: String,
    /// Name of the tenant's network; none for a task.
    pub of: Option<String>,
    /// `config` or `admin`.
    pub origin: String,
}

/// A task or tenant on an access port.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttachmentView {
    /// Name, or its place in the configuration.
    pub name: String,
    /// Port.
    pub port: String,
    /// VLAN tag; none: untagged.
    pub vlan: Option<u16>,
    /// MAC address.
    pub mac: String,
    /// Name of the tenant's network; none for a task.
    pub network: Option<String>,
    /// The tenant's addresses in its network.
    pub addresses: Vec<String>,
    /// Its identifiers, as SIR addresses.
    pub identifiers: Vec<String>,
    /// What was refused of the tenant since it was attached, by kind; empty for a task.
    pub refused: Vec<RefusedView>,
    /// Whether the tenant is under quarantine.
    pub quarantined: bool,
    /// Addresses that it was asked for and did not answer for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// Who made it: `config` or `nva`.
    pub origin: String,
    /// Where its VM or task is: here, expected or departed.
    pub presence: String,
}

/// Packets of a tenant that were refused as violations or beyond a limit, and ICMP errors that were not sent
/// to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedView {
    /// As in `ilagate_tenant_abuse_total`.
    pub kind: String,
    /// How many.
    pub packets: u64,
}

/// Something that happened to a tenant, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventView {
    /// Number in the order of events, from 1 when the node starts.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Name or index of the attachment.
    pub attachment: String,
    /// Name of its network.
    pub network: String,
    /// Virtual network identifier.
    pub vnid: u32,
    /// `learnt`, `conflict`, `spoofed`, `quarantined`, `released`, `silent` or `answers`.
    pub kind: String,
    /// The address that the tenant announced or claims.
    pub address: Option<String>,
    /// The MAC address that has the address.
    pub mac: Option<String>,
    /// Packets with a source that is not the tenant's.
    pub packets: Option<u64>,
    /// Length of the quarantine in seconds.
    pub seconds: Option<u64>,
}
