//! What the NVE asks by MAC address, and what it says of its networks.

use super::{Client, Effect, Live, Registration, State};
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
        let gone = self.reported.keys().filter(|network| !self.networks.contains_key(network));
        let mut detached: Vec<Network> = gone.copied().collect();
        let is_new = |(network, at): &(&Network, &AttachedNetwork)| self.reported.get(network) != Some(at);
        let new = self.networks.iter().filter(is_new).map(|(network, at)| (*network, at.clone()));
        let mut new: Vec<(Network, AttachedNetwork)> = new.take(NETWORKS_IN_ALL).collect();
        while whole || !new.is_empty() || !detached.is_empty() {
            let rest = new.split_off(new.len().min(NETWORKS));
            let networks = std::mem::replace(&mut new, rest);
            let detached = std::mem::take(&mut detached);
            let report = AttachedNetworks { whole: std::mem::take(&mut whole), networks, detached };
            self.effects.push(Effect::Up(Up::Attached(report)));
        }
        self.reported = self.networks.clone();
    }
}
