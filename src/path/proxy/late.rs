//! Questions by ARP, RARP and Neighbour Discovery that the authority is asked for. The control thread keeps
//! them for a moment; once the address is known they are answered as the worker would.

use super::{arp, ndp};
use crate::net::arp::{Kind, parse};
use crate::net::ndp::Message;
use crate::net::{Mac, arp::Arp, ethernet, ipv6::Ipv6, ndp as wire};
use crate::path::admit::source::{Sender, find};
use crate::path::ctx::Ctx;
use crate::path::packet::Packet;
use crate::path::verdict::Verdict;
use crate::table::{AttachmentKey, NetworkId, PortId, Tables};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a question became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateAnswer {
    /// The address that the asker was about to take, if it probed for duplicates.
    pub probed: Option<IpAddr>,
}

enum Question {
    Arp(Arp),
    Rarp(Arp),
    Nd { target: u128, is_probe: bool },
}

/// A MAC address of a virtual network that a tenant asks for by RARP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// The network of the tenant.
    pub network: NetworkId,
    /// The MAC address.
    pub mac: Mac,
}

/// Who asks, if the frame from `port` is a question: an ARP request or probe, a RARP request, or a Neighbour Solicitation.
#[must_use]
pub fn asker(frame: &[u8], port: PortId) -> Option<AttachmentKey> {
    let (link, _) = question(frame)?;
    Some(AttachmentKey { port, vlan: link.vlan, mac: ethernet::source(frame)? })
}

/// The MAC address that a frame from `port` asks for, if it is a RARP request of a tenant.
#[must_use]
pub fn sought(frame: &[u8], port: PortId, tables: &Tables) -> Option<Sought> {
    let (link, Question::Rarp(message)) = question(frame)? else { return None };
    let tenant = tables.networks.tenant(port, link.vlan, ethernet::source(frame)?)?;
    Some(Sought { network: tenant.network, mac: message.target_mac })
}

fn question(frame: &[u8]) -> Option<(ethernet::Link, Question)> {
    let link = ethernet::parse(frame)?;
    let payload = frame.get(link.header..)?;
    let question = match link.ethertype {
        ethernet::ARP => {
            let message = parse(link.ethertype, payload).ok()?;
            matches!(message.kind(), Kind::Request | Kind::Probe).then_some(Question::Arp(message))?
        }
        ethernet::RARP => {
            let message = parse(link.ethertype, payload).ok()?;
            matches!(message.kind(), Kind::ReverseRequest).then_some(Question::Rarp(message))?
        }
        ethernet::IPV6 => match wire::parse(payload).ok()? {
            Message::Solicitation { target, .. } => {
                Question::Nd { target, is_probe: Ipv6::of(payload)?.source() == 0 }
            }
            Message::Advertisement { .. }
            | Message::RouterSolicitation { .. }
            | Message::RouterAdvertisement => return None,
        },
        _ => return None,
    };
    Some((link, question))
}

/// Replaces a question, as the worker handed it over, by its answer. `None`, and nothing changed, if the address is not
/// known, or the asker may not know of it any more. `found` is the IPv4 address that the authority found for what a RARP
/// request asks for.
pub fn answer_late(packet: &mut Packet<'_>, tables: &Tables, found: Option<Ipv4Addr>) -> Option<LateAnswer> {
    let (link, question) = question(packet.frame())?;
    let ctx = Ctx { tables, now_ms: 0 };
    let port = tables.ports.get(usize::from(packet.port.0))?;
    let sender: Option<Sender<'_>> = if port.tenants { find(packet, link.vlan, &ctx).ok()? } else { None };
    packet.l3 = link.header as u8;
    let (verdict, probed) = match question {
        Question::Arp(message) => {
            let probed =
                (message.kind() == Kind::Probe).then_some(IpAddr::V4(Ipv4Addr::from(message.target)));
            (arp::answer_request(packet, &sender?, &message, &ctx)?, probed)
        }
        Question::Rarp(message) => {
            let found = found.map(u32::from);
            (arp::answer_reverse(packet, &sender?, &message, found, &ctx)?, None)
        }
        Question::Nd { target, is_probe } => {
            let probed = is_probe.then_some(IpAddr::V6(Ipv6Addr::from(target)));
            (ndp::solicited(packet, sender.map(|sender| sender.id), port, target, tables), probed)
        }
    };
    matches!(verdict, Verdict::Reply(_)).then_some(LateAnswer { probed })
}
