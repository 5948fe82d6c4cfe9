//! What comes from an attachment whose VM or task is not here (VMM draft §4.2, §5). It may announce itself, and ask for
//! what is answered here. What else it sends waits until it is here; from one that leaves it goes out until it is the
//! other NVE's, and is dropped from then on.

use crate::net::{arp, ethernet, icmp6, ipv6, ndp};
use crate::path::ctx::Ctx;
use crate::path::meta::Class;
use crate::path::notice::Sign;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Absent, AttachmentKey, Sends};

/// The sender of a frame, if it is not here, and the sign of life that the frame is.
pub(in crate::path) struct Stranger<'t> {
    absent: &'t Absent,
    sign: Sign,
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
    let sign = match link.ethertype {
        // Hypervisors write all kinds of messages into it.
        ethernet::RARP => Sign::Reverse,
        ethernet::ARP => match arp::parse(link.ethertype, payload) {
            Ok(message) if message.kind() == arp::Kind::Gratuitous => Sign::Announcement,
            Ok(message) if message.kind() == arp::Kind::Reply => Sign::Answer,
            Ok(_) | Err(_) => Sign::Frame,
        },
        ethernet::IPV6 if payload.get(ipv6::HEADER) == Some(&icmp6::kind::NEIGHBOUR_ADVERTISEMENT) => {
            match ndp::parse(payload) {
                Ok(ndp::Message::Advertisement { solicited: true, .. }) => Sign::Answer,
                Ok(_) | Err(_) => Sign::Announcement,
            }
        }
        _ => Sign::Frame,
    };
    Some(Stranger { absent, sign })
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
        policer.seen(self.absent.at, self.sign, ctx);
        if packet.verdict.is_undecided() && class != Class::Local {
            packet.verdict = match self.absent.sends {
                Sends::Hold(queue) => Verdict::Hold(queue),
                Sends::Pass => return,
                Sends::Drop => Verdict::Drop(DropReason::NotHere),
            };
        }
    }
}
