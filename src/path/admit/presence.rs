//! What comes from an attachment whose VM or task is not here (VMM draft §4.2, §5). It may announce itself, and ask for
//! what is answered here. What else it sends waits until it is here; from one that leaves it goes out until it is the
//! other NVE's, and is dropped from then on.

use crate::net::ipv6::Ipv6;
use crate::net::{Mac, arp, ethernet, icmp6, ipv4, ipv6, ndp};
use crate::path::ctx::Ctx;
use crate::path::meta::Class;
use crate::path::notice::Sign;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Absent, AttachmentKey, Sends, TaskSources, Tenant};

/// The sender of a frame, if it is not here, and the sign of life that the frame is, if it is one.
pub(in crate::path) struct Stranger<'t> {
    absent: &'t Absent,
    sign: Option<Sign>,
}

/// The sender of a frame, if it is not here. Call it before the frame is answered.
#[inline]
pub(in crate::path) fn stranger<'t>(packet: &Packet<'_>, ctx: &Ctx<'t>) -> Option<Stranger<'t>> {
    if ctx.tables.moves.absent.is_empty() { None } else { find(packet, ctx) }
}

#[cold]
fn find<'t>(packet: &Packet<'_>, ctx: &Ctx<'t>) -> Option<Stranger<'t>> {
    let link = ethernet::parse(packet.frame())?;
    let mac = ethernet::source(packet.frame())?;
    let absent = ctx.tables.moves.absent(&AttachmentKey { port: packet.port, vlan: link.vlan, mac })?;
    let payload = packet.frame().get(link.header..).unwrap_or(&[]);
    let tenant = ctx.tables.networks.tenant(packet.port, link.vlan, mac);
    let bound = Bound { mac, tenant, task: absent.task.as_ref() };
    Some(Stranger { absent, sign: bound.sign(link.ethertype, payload) })
}

/// What is bound to the sender of a frame.
struct Bound<'t> {
    mac: Mac,
    tenant: Option<&'t Tenant>,
    task: Option<&'t TaskSources>,
}

impl Bound<'_> {
    /// The sign of life that a frame is: only one that names what is bound to its sender is any.
    fn sign(&self, ethertype: u16, payload: &[u8]) -> Option<Sign> {
        match ethertype {
            // Hypervisors write all kinds of messages into it. The sender's MAC address is at the same place in all of
            // them (RFC 903).
            ethernet::RARP => (payload.get(8..14) == Some(&self.mac.0[..])).then_some(Sign::Reverse),
            ethernet::ARP => {
                let message = arp::parse(ethertype, payload).ok()?;
                let is_bound = message.sender_mac == self.mac && self.has_ipv4(message.sender);
                is_bound.then(|| match message.kind() {
                    arp::Kind::Gratuitous => Sign::Announcement,
                    arp::Kind::Reply => Sign::Answer,
                    _ => Sign::Frame,
                })
            }
            ethernet::IPV4 => {
                let header = ipv4::Ipv4::of(payload).filter(|header| header.version() == 4)?;
                self.has_ipv4(header.source()).then_some(Sign::Frame)
            }
            ethernet::IPV6 => {
                let header = Ipv6::of(payload).filter(|header| header.version() == 6)?;
                if payload.get(ipv6::HEADER) == Some(&icmp6::kind::NEIGHBOUR_ADVERTISEMENT)
                    && header.next_header() == ipv6::next::ICMP6
                {
                    let Ok(ndp::Message::Advertisement { target, solicited, .. }) = ndp::parse(payload)
                    else {
                        return None;
                    };
                    let sign = if solicited { Sign::Answer } else { Sign::Announcement };
                    return self.has_ipv6(target).then_some(sign);
                }
                self.has_ipv6(header.source()).then_some(Sign::Frame)
            }
            _ => None,
        }
    }

    fn has_ipv4(&self, address: u32) -> bool {
        self.tenant.is_some_and(|tenant| tenant.ipv4.contains(&address))
    }

    fn has_ipv6(&self, address: u128) -> bool {
        self.tenant.is_some_and(|tenant| tenant.ipv6.contains(&address))
            || self.task.is_some_and(|task| task.has(address))
    }
}

impl Stranger<'_> {
    /// Decides a frame after its source checks, and tells the control thread of it.
    #[cold]
    pub(in crate::path) fn decide(
        &self,
        packet: &mut Packet<'_>,
        class: Class,
        policer: &mut Policer,
        ctx: &Ctx<'_>,
    ) {
        if matches!(packet.verdict, Verdict::Drop(DropReason::SpoofedSource | DropReason::Quarantined)) {
            return;
        }
        if self.absent.arrived {
            // What it sent before leaves first.
            if let Some(queue) = self.absent.released.filter(|_| !packet.admitted)
                && packet.verdict.is_undecided()
                && class != Class::Local
            {
                packet.verdict = Verdict::Hold(queue);
            }
            return;
        }
        if let Some(sign) = self.sign {
            policer.seen(self.absent.at, sign, ctx);
        }
        if packet.verdict.is_undecided() && class != Class::Local {
            packet.verdict = match self.absent.sends {
                Sends::Hold(queue) => Verdict::Hold(queue),
                Sends::Pass => return,
                Sends::Drop => Verdict::Drop(DropReason::NotHere),
            };
        }
    }
}
