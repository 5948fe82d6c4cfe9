//! What was judged and stands, so that one more policy or attachment is judged by itself: by the same rules, at a cost
//! that does not grow with what stands.

use super::super::model::{Attachment, Policy, VirtualNetwork};
use super::super::raw::{RawAttachment, RawConfig, RawPolicy};
use super::attachments::{AttachmentRules, Met, attachments};
use super::edges::Inside;
use super::identifier_rules::IdentifierRules;
use super::networks::Networks;
use super::peers::Peers;
use super::policies::{End, MAX_POLICIES, PolicyRules, judge_end, judge_ends, policies, too_many};
use super::ports::Ports;
use super::rules::{Domains, Locators};
use super::scope::{Check, Scope, Seen};
use crate::net::Ipv6Prefix;
use crate::shared::List;
use serde_saphyr::Spanned;
use std::sync::Arc;

/// Everything that policies and attachments are judged by, and those that stand.
#[derive(Debug)]
pub(crate) struct Standing {
    domains: Domains,
    locators: Locators,
    ports: Ports,
    networks: Networks,
    peers: Peers,
    infrastructure: Vec<Ipv6Prefix>,
    policies: Seen<Policy>,
    attachments: Met,
}

impl Standing {
    /// Without a policy and an attachment yet.
    pub(super) fn new(
        domains: Domains,
        locators: Locators,
        ports: Ports,
        networks: Networks,
        peers: Peers,
        infrastructure: Vec<Ipv6Prefix>,
    ) -> Self {
        let (policies, attachments) = (Seen::new(), Met::default());
        Standing { domains, locators, ports, networks, peers, infrastructure, policies, attachments }
    }

    pub(super) fn domains(&self) -> &Domains {
        &self.domains
    }

    pub(super) fn locators(&self) -> &Locators {
        &self.locators
    }

    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(super) fn networks(&self) -> &Arc<Vec<VirtualNetwork>> {
        &self.networks.list
    }

    pub(super) fn infrastructure(&self) -> &[Ipv6Prefix] {
        &self.infrastructure
    }

    /// Judges all policies and attachments of a file.
    pub(super) fn judge_all(
        &mut self,
        check: &mut Check,
        raw: &RawConfig,
    ) -> (Vec<Policy>, List<Attachment>) {
        let (mut seen, mut met) = (std::mem::take(&mut self.policies), std::mem::take(&mut self.attachments));
        let policies = policies(check, raw, self.policy_rules(), &mut seen);
        let attachments = attachments(check, raw, self.attachment_rules(), &mut met);
        (self.policies, self.attachments) = (seen, met);
        (policies, attachments)
    }

    /// Judges one more attachment. If there was an error, nothing can be judged any more.
    pub(in super::super) fn attach(&mut self, s: &mut Scope<'_>, raw: &RawAttachment) -> Option<Attachment> {
        let mut met = std::mem::take(&mut self.attachments);
        let attachment = self.attachment_rules().judge(s, raw, &mut met);
        self.attachments = met;
        attachment
    }

    /// An attachment goes.
    pub(in super::super) fn detach(&mut self, attachment: &Attachment) {
        self.attachments.forget(attachment);
    }

    /// Judges one more policy, beside the others. If there was an error, nothing can be judged any more.
    pub(in super::super) fn permit(
        &mut self,
        s: &mut Scope<'_>,
        entry: &Spanned<RawPolicy>,
        others: &[Policy],
    ) -> Option<Policy> {
        if others.len() >= MAX_POLICIES {
            s.beyond(too_many());
        }
        let mut seen = std::mem::take(&mut self.policies);
        let policy = self.policy_rules().judge(s, entry, others, &mut seen);
        self.policies = seen;
        policy
    }

    /// A policy goes.
    pub(in super::super) fn forbid(&mut self, policy: Policy) {
        self.policies.forget(&policy.straight());
    }

    /// The policy between two ends, without its gateway.
    pub(in super::super) fn policy(&self, from: &str, to: &str) -> Option<Policy> {
        let end = |text: &str| -> Option<End> { judge_end(text, &self.domains, &self.networks).ok()? };
        judge_ends(end(from)?, end(to)?, to).ok()
    }

    fn policy_rules(&self) -> PolicyRules<'_> {
        PolicyRules { domains: &self.domains, own: &self.locators, networks: &self.networks }
    }

    fn attachment_rules(&self) -> AttachmentRules<'_> {
        let Standing { domains, locators, ports, networks, peers, infrastructure, .. } = self;
        let inside = Inside { domains, locators, networks: &networks.list, infrastructure };
        let identifiers = IdentifierRules::new(domains, locators, networks, peers);
        AttachmentRules { ports, identifiers, inside }
    }
}
