//! What the NVE asks by MAC address and for tenants without an address, and what it says of its networks.

use super::{Client, Effect, Live, News, Registration, State};
use crate::net::Mac;
use crate::nva::message::{AttachedNetwork, AttachedNetworks, NETWORKS, NETWORKS_IN_ALL, Up};
use crate::nva::model::{Key, Network};

/// Shortest time between two reports of the networks that are attached.
const REPORT_MS: u64 = 100;

impl Client {
    /// Whether there is a session with an authority that takes questions by MAC address, and hears of networks.
    pub(super) fn takes_bindings(&self) -> bool {
        matches!(self.state, State::Live(Live { bindings: true, .. }))
    }

    /// A tenant asks who has a MAC address.
    pub(super) fn find(&mut self, network: Network, mac: Mac, now_ms: u64) {
        if self.takes_bindings() {
            self.finds.seek((network, mac), now_ms);
            self.ask_for_macs();
        }
    }

    pub(super) fn ask_for_macs(&mut self) {
        while let Some(question) = self.finds.next() {
            self.effects.push(Effect::Up(question));
        }
    }

    /// The tenant of an attachment asks for addresses by RARP, and is to get them.
    pub(super) fn allocate_address(&mut self, attachment: String, now_ms: u64) {
        if !matches!(self.state, State::Live(Live { addresses: true, .. })) {
            return;
        }
        let next_id = || {
            self.next_id += 1;
            self.next_id
        };
        self.effects.extend(self.addresses.ask(attachment, now_ms, next_id).map(Effect::Up));
    }

    /// A request was refused. Gives whether it was one for addresses.
    pub(super) fn address_refused(&mut self, id: u64, why: &str, temporary: bool, now_ms: u64) -> bool {
        let Some((attachment, is_new)) = self.addresses.refused(id, why, temporary, now_ms) else {
            return false;
        };
        if is_new {
            let why = why.to_owned();
            self.effects.push(Effect::Tell(News::AddressRefused { attachment, why }));
        }
        true
    }

    /// A tenant announced an address of its own: what was refused is asked for again at once.
    pub(super) fn announced(&mut self, key: Key, now_ms: u64) {
        if let Some(Registration::Refused { again_ms }) = self.registrations.get_mut(&key) {
            *again_ms = now_ms.min(*again_ms);
        }
    }

    /// Says what changed of the networks of which there are tenants here: everything in the first message of a session.
    pub(super) fn tell_of_networks(&mut self, now_ms: u64) {
        let is_due = self.reports_anew || now_ms >= self.report_due_ms && self.networks != self.reported;
        if !is_due || !self.takes_bindings() {
            return;
        }
        self.report_due_ms = now_ms + REPORT_MS;
        let mut whole = std::mem::take(&mut self.reports_anew);
        if whole {
            self.reported.clear();
        }
        // The rest is for the next report: an authority hears so many in a second, and all of them when a session begins.
        let most = if whole { NETWORKS_IN_ALL } else { NETWORKS };
        let gone = self.reported.keys().filter(|network| !self.networks.contains_key(network));
        let mut detached: Vec<Network> = gone.take(most).copied().collect();
        let is_new = |(network, at): &(&Network, &AttachedNetwork)| self.reported.get(network) != Some(at);
        let new = self.networks.iter().filter(is_new).map(|(network, at)| (*network, at.clone()));
        let mut new: Vec<(Network, AttachedNetwork)> = new.take(most - detached.len()).collect();
        detached.iter().for_each(|network| _ = self.reported.remove(network));
        self.reported.extend(new.iter().cloned());
        while whole || !new.is_empty() || !detached.is_empty() {
            let rest = new.split_off(new.len().min(NETWORKS));
            let networks = std::mem::replace(&mut new, rest);
            let detached = std::mem::take(&mut detached);
            let report = AttachedNetworks { whole: std::mem::take(&mut whole), networks, detached };
            self.effects.push(Effect::Up(Up::Attached(report)));
        }
    }
}
