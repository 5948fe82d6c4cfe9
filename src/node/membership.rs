//! Which groups the tenants attached here want: what they report by IGMP and MLD, and the queries that keep
//! it true (RFC 3376 §6, RFC 3810 §7; snooping as of RFC 4541).
//!
//! It is a pure state machine: it takes frames and the time, and gives [`Effect`]s. Every tenant is known by
//! its attachment, so a group that a tenant leaves needs no query to others. Sources are not filtered: a
//! tenant that wants a group from some sources gets it from all.

use super::exchange::Frame;
use super::rib::attachment_key;
use crate::config::{Attachment, Config, Multicast, TenantAddress};
use crate::ila::Identifier;
use crate::ila::group::{ipv4_leaves_link, ipv6_identifier, leaves_link, scope};
use crate::mapping::group::judge_group_identifier;
use crate::net::membership::Interest;
use crate::net::{Mac, ethernet, igmp, mld};
use crate::table::{AttachmentKey, PortId};
use std::collections::{BTreeMap, BTreeSet};

/// Robustness variable and query response interval of both protocols (RFC 3376 §8.1, §8.3; RFC 3810 §9.1,
/// §9.3).
const ROBUSTNESS: u8 = 2;
const RESPONSE_MS: u64 = 10_000;
/// How long a tenant that named fewer sources than before may take to report the group again: last member
/// query time (RFC 3376 §8.8 and §8.9, RFC 3810 §9.8 and §9.9).
const LAST_MEMBER_MS: u64 = 2_000;
/// Time between two checks for memberships that ran out.
const CHECK_MS: u64 = 250;
/// The part of it that one query gives for an answer.
const LAST_RESPONSE_MS: u64 = 1_000;

/// A port, a VLAN identifier, and the index of a network with tenants there.
type NetworkLink = (PortId, u16, u16);

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A tenant wants a group.
    Joined(AttachmentKey, TenantAddress),
    /// A tenant left a group, or did not report it in time.
    Left(AttachmentKey, TenantAddress),
    /// A query is to be sent.
    Query(Box<Frame>),
}

/// A tenant, and until when its groups count.
struct Member {
    network: u16,
    groups: BTreeMap<TenantAddress, Until>,
}

/// When a membership ends, and when its tenant may be queried about it again. In milliseconds.
struct Until {
    expires_ms: u64,
    query_ms: u64,
}

/// What queries and reports need to know of a network.
struct Network {
    vnid: u32,
    mac: Mac,
    ipv6: bool,
    gateway: Option<u32>,
    zero_aliases: bool,
    /// Groups of its tenants, each counted once for each tenant.
    joined: u32,
}

/// All tenants and their groups.
pub struct Memberships {
    settings: Multicast,
    networks: Vec<Network>,
    members: BTreeMap<AttachmentKey, Member>,
    /// Links with tenants, once for each network that they have, and how many tenants those are.
    links: BTreeMap<NetworkLink, usize>,
    /// When links to which tenants came are queried, beside the others.
    fresh: BTreeSet<(u64, NetworkLink)>,
    /// When the next check for memberships that ran out is due.
    check_due_ms: u64,
    query_due_ms: u64,
    /// General queries since the last start.
    queries: u8,
    refused: u64,
    unmappable: u64,
}

impl Memberships {
    /// The tenants of a configuration, without any membership.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut memberships = Memberships {
            settings: config.multicast,
            networks: Vec::new(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            fresh: BTreeSet::new(),
            check_due_ms: 0,
            query_due_ms: 0,
            queries: 0,
            refused: 0,
            unmappable: 0,
        };
        memberships.configure(config, 0, &mut Vec::new());
        memberships
    }

    /// Takes over another configuration. Tenants that stay keep their groups, and all tenants are queried.
    pub fn configure(&mut self, config: &Config, now_ms: u64, effects: &mut Vec<Effect>) {
        self.settings = config.multicast;
        // By their VNIDs: a file may list networks in another order than before.
        let before: Vec<u32> = self.networks.iter().map(|network| network.vnid).collect();
        self.networks = config
            .virtual_networks
            .iter()
            .map(|network| Network {
                vnid: network.vnid,
                mac: network.mac,
                ipv6: network.ipv6.is_some(),
                gateway: network.ipv4.first().map(|subnet| subnet.gateway),
                zero_aliases: config
                    .sir_domains
                    .get(usize::from(network.domain))
                    .is_none_or(|domain| domain.checksum.changes_identifier()),
                joined: 0,
            })
            .collect();
        let mut old = std::mem::take(&mut self.members);
        self.links.clear();
        self.fresh.clear();
        for attachment in &config.attachments {
            let Some(network) = attachment.network else { continue };
            let key = attachment_key(attachment);
            let vnid = self.networks.get(usize::from(network)).map(|network| network.vnid);
            let stays = |member: &Member| before.get(usize::from(member.network)).copied() == vnid;
            let member = if old.get(&key).is_some_and(stays) { old.remove(&key) } else { None };
            let groups = member.map_or_else(BTreeMap::new, |member| member.groups);
            let member = Member { network, groups };
            if let Some(network) = self.networks.get_mut(usize::from(network)) {
                network.joined += member.groups.len() as u32;
            }
            self.members.insert(key, member);
            *self.links.entry((key.port, key.vlan, network)).or_default() += 1;
        }
        for (key, member) in old {
            effects.extend(member.groups.into_keys().map(|group| Effect::Left(key, group)));
        }
        self.query_soon(now_ms);
    }

    /// Takes over attachments that went, and some that came. Those that are there before and after keep their groups if
    /// they stay in their network. Links to which tenants came are queried.
    pub fn take_step(
        &mut self,
        gone: &[Attachment],
        new: &[Attachment],
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let mut old: BTreeMap<AttachmentKey, Member> = BTreeMap::new();
        for key in gone.iter().map(attachment_key) {
            let Some(member) = self.members.remove(&key) else { continue };
            let link = (key.port, key.vlan, member.network);
            if let Some(count) = self.links.get_mut(&link) {
                *count -= 1;
                if *count == 0 {
                    self.links.remove(&link);
                }
            }
            old.insert(key, member);
        }
        let interval_ms = u64::from(self.settings.query_interval_s) * 1000;
        for attachment in new {
            let Some(network) = attachment.network else { continue };
            let key = attachment_key(attachment);
            let stays = old.get(&key).is_some_and(|member| member.network == network);
            let member = old.remove(&key).filter(|_| stays);
            let member = member.unwrap_or(Member { network, groups: BTreeMap::new() });
            self.members.insert(key, member);
            let link = (key.port, key.vlan, network);
            *self.links.entry(link).or_default() += 1;
            // As often as at the start (RFC 3376 §8.6, §8.7).
            self.fresh.extend((0..u64::from(ROBUSTNESS)).map(|n| (now_ms + n * interval_ms / 4, link)));
        }
        for (key, member) in old {
            if let Some(network) = self.networks.get_mut(usize::from(member.network)) {
                network.joined -= member.groups.len() as u32;
            }
            effects.extend(member.groups.into_keys().map(|group| Effect::Left(key, group)));
        }
    }

    /// Queries all tenants as at the start, because new ones may have come.
    pub fn query_soon(&mut self, now_ms: u64) {
        (self.query_due_ms, self.queries) = (now_ms, 0);
    }

    /// Reads a frame that a tenant sent.
    pub fn receive(&mut self, port: PortId, frame: &[u8], now_ms: u64, effects: &mut Vec<Effect>) {
        let (Some(link), Some(mac)) = (ethernet::parse(frame), ethernet::source(frame)) else { return };
        let (key, packet) =
            (AttachmentKey { port, vlan: link.vlan, mac }, frame.get(link.header..).unwrap_or(&[]));
        if link.ethertype == ethernet::IPV4 {
            let Ok(igmp::Message::Report(changes)) = igmp::parse(packet) else { return };
            for change in changes {
                self.change(key, TenantAddress::V4(change.group), change.interest, now_ms, effects);
            }
        } else {
            let Ok(mld::Message::Report(changes)) = mld::parse(packet) else { return };
            for change in changes {
                self.change(key, TenantAddress::V6(change.group), change.interest, now_ms, effects);
            }
        }
    }

    fn change(
        &mut self,
        key: AttachmentKey,
        group: TenantAddress,
        interest: Interest,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let lifetime_ms = self.lifetime_ms();
        let Some(member) = self.members.get_mut(&key) else { return };
        let Some(network) = self.networks.get_mut(usize::from(member.network)) else { return };
        match (interest, member.groups.get_mut(&group)) {
            (Interest::Join, Some(until)) => until.expires_ms = now_ms + lifetime_ms,
            (Interest::Join, None) if !network.has(group) => {
                self.unmappable += u64::from(network.lacks(group));
            }
            (Interest::Join, None) => {
                let room = member.groups.len() < usize::from(self.settings.groups_per_tenant)
                    && network.joined < self.settings.groups_per_network;
                if !room {
                    self.refused += 1;
                    return;
                }
                member.groups.insert(group, Until { expires_ms: now_ms + lifetime_ms, query_ms: 0 });
                network.joined += 1;
                effects.push(Effect::Joined(key, group));
            }
            (Interest::Leave, Some(_)) => {
                member.groups.remove(&group);
                network.joined -= 1;
                effects.push(Effect::Left(key, group));
            }
            (Interest::Fewer, Some(until)) => {
                // One report may hold a hundred such records. One query answers them all.
                if now_ms < until.query_ms {
                    return;
                }
                until.query_ms = now_ms + LAST_RESPONSE_MS;
                until.expires_ms = until.expires_ms.min(now_ms + LAST_MEMBER_MS);
                let question = Question {
                    group: Some(group),
                    response_ms: LAST_RESPONSE_MS,
                    interval_s: self.settings.query_interval_s,
                };
                effects.extend(
                    network.query(key.port, key.vlan, &question).map(|frame| Effect::Query(Box::new(frame))),
                );
            }
            (Interest::Leave | Interest::Fewer, None) => {}
        }
    }

    /// Serves the timers: sends queries that are due, and ends memberships that were not reported in time.
    pub fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if now_ms >= self.check_due_ms {
            self.check_due_ms = now_ms + CHECK_MS;
            self.expire(now_ms, effects);
        }
        if now_ms >= self.query_due_ms && !self.links.is_empty() {
            self.query(now_ms, effects);
        }
        while self.fresh.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms)
            && let Some((_, link)) = self.fresh.pop_first()
        {
            if self.links.contains_key(&link) {
                self.query_link(link, effects);
            }
        }
    }

    fn expire(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        for (key, member) in &mut self.members {
            let Some(network) = self.networks.get_mut(usize::from(member.network)) else { continue };
            member.groups.retain(|group, until| {
                let stays = now_ms < until.expires_ms;
                if !stays {
                    network.joined -= 1;
                    effects.push(Effect::Left(*key, *group));
                }
                stays
            });
        }
    }

    fn query(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let interval_ms = u64::from(self.settings.query_interval_s) * 1000;
        self.queries = self.queries.saturating_add(1);
        // The first ones follow each other sooner (RFC 3376 §8.6, §8.7).
        let pause_ms = if self.queries < ROBUSTNESS { interval_ms / 4 } else { interval_ms };
        self.query_due_ms = now_ms + pause_ms;
        let links: Vec<NetworkLink> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.query_link(link, effects));
    }

    /// Sends a general query to a link.
    fn query_link(&self, (port, vlan, network): NetworkLink, effects: &mut Vec<Effect>) {
        let question = Question {
            group: None,
            response_ms: self.response_ms(),
            interval_s: self.settings.query_interval_s,
        };
        let Some(network) = self.networks.get(usize::from(network)) else { return };
        effects.extend(network.query(port, vlan, &question).map(|frame| Effect::Query(Box::new(frame))));
    }

    /// How long tenants may take to answer: less than half of the query interval.
    fn response_ms(&self) -> u64 {
        RESPONSE_MS.min(u64::from(self.settings.query_interval_s) * 500)
    }

    /// How long a report counts: group membership interval (RFC 3376 §8.4), multicast address listening
    /// interval (RFC 3810 §9.4).
    fn lifetime_ms(&self) -> u64 {
        u64::from(ROBUSTNESS) * u64::from(self.settings.query_interval_s) * 1000 + self.response_ms()
    }

    /// The groups that the tenant at this key joined, and when each ends unless it is reported again, in
    /// milliseconds.
    pub fn of(&self, key: AttachmentKey) -> impl Iterator<Item = (TenantAddress, u64)> + '_ {
        let groups = self.members.get(&key).map(|member| &member.groups);
        groups.into_iter().flatten().map(|(group, until)| (*group, until.expires_ms))
    }

    /// The links that are queried.
    #[cfg(test)]
    pub fn links(&self) -> Vec<(PortId, u16, u16)> {
        self.links.keys().copied().collect()
    }

    /// Memberships of all tenants.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.networks.iter().map(|network| u64::from(network.joined)).sum()
    }

    /// Joins that were refused, because there are too many memberships.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Joins of groups that leave their link and cannot be delivered: they have no identifier, or one that
    /// neutral mapping cannot tell from another.
    #[must_use]
    pub fn unmappable(&self) -> u64 {
        self.unmappable
    }
}

/// What a query asks.
struct Question {
    /// All groups, or one.
    group: Option<TenantAddress>,
    response_ms: u64,
    interval_s: u16,
}

impl Network {
    /// Whether packets to a group may come to a tenant of the network at all.
    fn has(&self, group: TenantAddress) -> bool {
        let identifier = match group {
            TenantAddress::V4(address) => self.gateway.map(|_| Identifier::tenant_ipv4(self.vnid, address)),
            TenantAddress::V6(address) if self.ipv6 => ipv6_identifier(self.vnid, address),
            TenantAddress::V6(_) => None,
        };
        identifier.is_some_and(|identifier| judge_group_identifier(identifier, self.zero_aliases).is_ok())
    }

    /// Whether a group that it has not is one that a tenant may miss: of a family of the network, and wider
    /// than a link.
    fn lacks(&self, group: TenantAddress) -> bool {
        match group {
            TenantAddress::V4(address) => self.gateway.is_some() && ipv4_leaves_link(address),
            TenantAddress::V6(address) => self.ipv6 && leaves_link(scope(address)),
        }
    }

    /// The queries to one link, from the gateway: of MLD, of IGMP or of both.
    fn query(&self, port: PortId, vlan: u16, question: &Question) -> impl Iterator<Item = Frame> {
        let group6 = match question.group {
            None => Some(None),
            Some(TenantAddress::V6(group)) => Some(Some(group)),
            Some(TenantAddress::V4(_)) => None,
        };
        let group4 = match question.group {
            None => Some(None),
            Some(TenantAddress::V4(group)) => Some(Some(group)),
            Some(TenantAddress::V6(_)) => None,
        };
        let mld = group6.filter(|_| self.ipv6).and_then(|group| {
            let mut frame = [0; mld::MAX_FRAME];
            let query = mld::Query {
                version: mld::Version::V2,
                querier: self.mac.link_local(),
                group,
                max_response_ms: question.response_ms as u32,
                sources: 0,
                suppress: false,
                robustness: ROBUSTNESS,
                interval_s: question.interval_s.into(),
            };
            let length = mld::query(&mut frame, self.mac, vlan, &query);
            Frame::new(port, frame.get(..length)?)
        });
        let igmp = group4.zip(self.gateway).and_then(|(group, querier)| {
            let mut frame = [0; igmp::MAX_FRAME];
            let query = igmp::Query {
                version: igmp::Version::V3,
                querier,
                group,
                max_response_ds: (question.response_ms / 100) as u32,
                sources: 0,
                suppress: false,
                robustness: ROBUSTNESS,
                interval_s: question.interval_s.into(),
            };
            let length = igmp::query(&mut frame, self.mac, vlan, &query);
            Frame::new(port, frame.get(..length)?)
        });
        mld.into_iter().chain(igmp)
    }
}

#[cfg(test)]
mod tests;
