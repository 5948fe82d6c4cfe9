//! Questions to hosts whether they are there: to those that stay when one has left (VMM draft §4.2), to all from time to
//! time (VMM draft §10), and to those that the node's part in a move asks for.

use super::{Control, Effect, ForAuthority};
use crate::config::{Attachment, TenantAddress};
use crate::node::ask;
use crate::node::events::EventKind;
use crate::node::rib::attachment_key;
use crate::node::scan::{Binding, Finding};
use crate::table::AttachmentKey;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one attachment that are asked for, at most.
const ADDRESSES: usize = 8;
/// How long an answer is told to the node's part in a move after it asked.
const PROBED_MS: u64 = 60_000;

impl Control {
    /// Serves the scan: begins a round when one is due, and asks whom it is time to ask.
    pub(super) fn scan(&mut self, now_ms: u64) {
        let moves = self.config.moves;
        let interval_ms = u64::from(moves.scan_interval_s) * 1_000;
        if interval_ms > 0 && now_ms >= self.scan_begun_ms + interval_ms {
            self.scan_begun_ms = now_ms;
            let bindings: Vec<Binding> = self.bindings(|_| true).collect();
            self.scan.begin(bindings, now_ms);
        }
        if self.scan.is_idle() {
            return;
        }
        let (asked, found) = self.scan.step(now_ms, moves.scan_per_second);
        for (at, address) in asked {
            let _ = self.ask(at, address);
        }
        found.into_iter().for_each(|finding| self.tell_finding(finding));
    }

    /// The configuration is another one: nobody is asked for an address, or shown as silent at one, that is bound to it no
    /// more.
    pub(super) fn scan_configured(&mut self) {
        let bound: BTreeSet<Binding> = self
            .config
            .attachments
            .iter()
            .flat_map(|it| {
                let all = addresses(it, &self.config.sir_domains);
                all.into_iter().map(|address| (attachment_key(it), address))
            })
            .collect();
        self.scan.retain(|binding| bound.contains(binding));
    }

    /// Somebody has left: are the others still there?
    pub(super) fn scan_all_but(&mut self, gone: AttachmentKey, now_ms: u64) {
        let bindings: Vec<Binding> = self.bindings(|at| at != gone).collect();
        self.scan.begin(bindings, now_ms);
    }

    /// A host answered for its address, or announced it.
    pub(super) fn heard(&mut self, at: AttachmentKey, address: IpAddr) {
        if let Some(finding) = self.scan.answered((at, address)) {
            self.tell_finding(finding);
        }
        if self.probed.contains_key(&at) {
            self.effects.push(Effect::ForAuthority(ForAuthority::Answered(at)));
        }
    }

    /// Asks the VM or task of an attachment that moves whether it is there, once in each family. Says whether it was asked.
    pub(super) fn probe(&mut self, at: AttachmentKey) -> bool {
        let now_ms = self.now_ms();
        self.probed.retain(|_, until_ms| now_ms < *until_ms);
        self.probed.insert(at, now_ms + PROBED_MS);
        let Some(attachment) = self.rib.attachment_at(at) else { return false };
        let all = addresses(attachment, &self.config.sir_domains);
        let first = |is_v4: bool| all.iter().find(|address| address.is_ipv4() == is_v4).copied();
        let mut is_asked = false;
        for address in [first(true), first(false)].into_iter().flatten() {
            is_asked |= self.ask(at, address);
        }
        is_asked
    }

    /// The addresses of attachments that are here, on links that are up.
    fn bindings(&self, of: impl Fn(AttachmentKey) -> bool) -> impl Iterator<Item = Binding> {
        let is_asked = move |at: AttachmentKey| {
            let is_up = self.links.get(usize::from(at.port.0)).is_some_and(|link| link.up);
            is_up && !self.rib.is_away(at) && of(at)
        };
        let here = self.config.attachments.iter().filter(move |it| is_asked(attachment_key(it)));
        here.flat_map(|it| {
            let all = addresses(it, &self.config.sir_domains);
            all.into_iter().map(|address| (attachment_key(it), address))
        })
    }

    /// Says whether there was a way to ask.
    fn ask(&mut self, at: AttachmentKey, address: IpAddr) -> bool {
        let frame = ask::question(at, address, self.publisher.current());
        let asks = frame.is_some();
        frame.into_iter().for_each(|frame| self.send(frame));
        asks
    }

    fn tell_finding(&mut self, finding: Finding) {
        let ((at, address), kind) = match finding {
            Finding::Silent((at, address)) => ((at, address), EventKind::Silent { address }),
            Finding::Answers((at, address)) => ((at, address), EventKind::Answers { address }),
        };
        match self.rib.tenant_with(at) {
            Some(tenant) => self.report_event(tenant, kind),
            None => tracing::info!(mac = %at.mac, %address, kind = kind.label(), "a task's address"),
        }
    }
}

/// The addresses of an attachment that it is asked for.
fn addresses(attachment: &Attachment, domains: &[crate::config::SirDomain]) -> Vec<IpAddr> {
    let of_tenant = attachment.addresses.iter().map(|address| match address {
        TenantAddress::V4(address) => IpAddr::V4(Ipv4Addr::from(*address)),
        TenantAddress::V6(address) => IpAddr::V6(Ipv6Addr::from(*address)),
    });
    let of_task = attachment.identifiers.iter().filter(|_| attachment.network.is_none()).filter_map(|own| {
        let domain = domains.get(usize::from(own.domain))?;
        Some(IpAddr::V6(Ipv6Addr::from(domain.prefix.with(own.identifier))))
    });
    of_tenant.chain(of_task).take(ADDRESSES).collect()
}
