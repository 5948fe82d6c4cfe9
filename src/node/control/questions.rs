//! Questions of hosts by ARP, RARP and Neighbour Discovery that wait for the authority: each is answered once its address is
//! known, so that the host need not ask again (VMM draft §4.2).
//!
//! A question waits as long as a host waits before it asks again. What nobody has is not answered.

use super::{Control, Effect, ForAuthority};
use crate::ila::{Identifier, IdentifierType};
use crate::net::Mac;
use crate::net::ethernet::TAGGED_HEADER;
use crate::node::events::EventKind;
use crate::node::exchange::Frame;
use crate::nva::model::Network;
use crate::path::{LateAnswer, Packet, Sought, answer_late, asker, sought};
use crate::table::{AttachmentKey, NetworkId, Tables};
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// How long a question waits: hosts ask again after a second (RFC 4861 §10, RETRANS_TIMER; Linux does the same by ARP).
const WAIT_MS: u64 = 1_000;
/// Questions that wait, at most. Those beyond it are not kept.
const QUESTIONS: usize = 1_024;
/// Questions of one host that wait, at most: its oldest one leaves.
const QUESTIONS_OF_ONE: usize = 16;
/// Room for a question and its answer: the longest is a Neighbour Solicitation with options.
const ROOM: usize = TAGGED_HEADER + 256;

/// The questions that wait, oldest first.
#[derive(Default)]
pub(super) struct Questions(VecDeque<Question>);

struct Question {
    from: AttachmentKey,
    frame: Box<Frame>,
    until_ms: u64,
}

impl Questions {
    fn keep(&mut self, from: AttachmentKey, frame: &Frame, now_ms: u64) {
        self.expire(now_ms);
        // Asked again: it waits from now on.
        self.0.retain(|one| one.from != from || one.frame.bytes != frame.bytes);
        let mut of_one = self.0.iter().enumerate().filter(|(_, one)| one.from == from).map(|(at, _)| at);
        if let (Some(oldest), count) = (of_one.next(), of_one.count())
            && count + 1 >= QUESTIONS_OF_ONE
        {
            self.0.remove(oldest);
        }
        if self.0.len() < QUESTIONS {
            let until_ms = now_ms + WAIT_MS;
            self.0.push_back(Question { from, frame: Box::new(frame.clone()), until_ms });
        }
    }

    fn expire(&mut self, now_ms: u64) {
        while self.0.front().is_some_and(|oldest| now_ms >= oldest.until_ms) {
            self.0.pop_front();
        }
    }
}

impl Control {
    /// Takes a frame if it is a question: answers it, or keeps it until its address is known.
    pub(super) fn take_question(&mut self, frame: &Frame, now_ms: u64) -> bool {
        let Some(from) = asker(&frame.bytes, frame.port) else { return false };
        // The authority may have been faster than the question.
        if !self.answer_question(from, frame, None, now_ms) {
            self.questions.keep(from, frame, now_ms);
            self.seek_mac(from, frame);
        }
        true
    }

    /// Mappings are in force: answers the questions whose address is known now.
    pub(super) fn answer_questions(&mut self) {
        let now_ms = self.now_ms();
        self.questions.expire(now_ms);
        for question in std::mem::take(&mut self.questions.0) {
            if !self.answer_question(question.from, &question.frame, None, now_ms) {
                self.questions.0.push_back(question);
            }
        }
    }

    /// Has the authority asked for the MAC address of a RARP request, or for an address of the tenant that asks for its own
    /// and is to get one.
    fn seek_mac(&mut self, from: AttachmentKey, frame: &Frame) {
        let tables = self.publisher.current();
        let Some(Sought { network, mac }) = sought(&frame.bytes, frame.port, tables) else { return };
        if mac == from.mac
            && let Some(attachment) = self.rib.tenant_with(from).map(|tenant| tenant.attachment)
            && let Some(attachment) = self.config.attachments.get(attachment as usize)
            && attachment.on_rarp
        {
            let name = attachment.name.clone();
            let asked = name.map(|name| Effect::ForAuthority(ForAuthority::AllocateAddress(name)));
            return self.effects.extend(asked);
        }
        if let Some(network) = self.number_of(network) {
            self.effects.push(Effect::ForAuthority(ForAuthority::FindMac(network, mac)));
        }
    }

    /// A virtual network as the authority knows it.
    pub(super) fn number_of(&self, network: NetworkId) -> Option<Network> {
        let network = self.publisher.current().networks.get(network)?;
        let domain = self.config.sir_domains.get(usize::from(network.domain.0))?;
        Some((domain.prefix.0, network.vnid))
    }

    /// The authority found these identifiers of a MAC address: answers the RARP requests for it, with the first IPv4 address.
    pub(super) fn answer_found(&mut self, network: Network, mac: Mac, identifiers: &[Identifier]) {
        let now_ms = self.now_ms();
        self.questions.expire(now_ms);
        let mut ipv4 = identifiers.iter().filter(|it| it.kind() == IdentifierType::TenantIpv4);
        let Some(found) = ipv4.next().map(|it| Ipv4Addr::from(it.0 as u32)) else { return };
        let tables = self.publisher.current().clone();
        for question in std::mem::take(&mut self.questions.0) {
            let sought = sought(&question.frame.bytes, question.frame.port, &tables);
            let is_this =
                sought.is_some_and(|it| it.mac == mac && self.number_of(it.network) == Some(network));
            if !is_this || !self.answer_question(question.from, &question.frame, Some(found), now_ms) {
                self.questions.0.push_back(question);
            }
        }
    }

    fn answer_question(
        &mut self,
        from: AttachmentKey,
        question: &Frame,
        found: Option<Ipv4Addr>,
        now_ms: u64,
    ) -> bool {
        let tables = self.publisher.current().clone();
        let Some((frame, LateAnswer { probed })) = answered(question, &tables, found) else { return false };
        self.send(frame);
        if let Some(address) = probed
            && let Some(tenant) = tables.networks.tenant(from.port, from.vlan, from.mac)
        {
            self.report_damped(tenant.handle, EventKind::Conflict { address }, now_ms);
        }
        true
    }
}

fn answered(question: &Frame, tables: &Tables, found: Option<Ipv4Addr>) -> Option<(Frame, LateAnswer)> {
    let mut room = [0; ROOM];
    room.get_mut(..question.bytes.len())?.copy_from_slice(&question.bytes);
    let mut packet = Packet::new(&mut room, 0, question.bytes.len() as u16, question.port);
    let answer = answer_late(&mut packet, tables, found)?;
    Some((Frame::new(packet.port, packet.frame())?, answer))
}
