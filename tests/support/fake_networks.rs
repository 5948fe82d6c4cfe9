//! Networks, attachments, policies and peers of the fake node: what the configuration says, and what was added.

use ilagate::api::views::{
    AttachmentView, GroupView, NetworkCountersView, NetworkDetailView, NetworkView, PeerView, PolicyView,
    PrefixView, RefusedView,
};
use ilagate::config::{Amendment, AmendmentRules, Config};
use ilagate::node::handle::{Amend, AmendRefusal};
use std::sync::Arc;

pub fn network(name: &str, vnid: u32, own: bool) -> NetworkView {
    NetworkView {
        name: name.into(),
        vnid,
        domain: "tasks".into(),
        mac: "02:00:5e:00:00:01".into(),
        mtu: 1500,
        prefixes: vec![
            PrefixView { prefix: "2001:db8:a::/96".into(), gateway: None },
            PrefixView { prefix: "10.0.0.0/24".into(), gateway: Some("10.0.0.254".into()) },
        ],
        attachments: 1,
        mappings: 7,
        counters: NetworkCountersView {
            own,
            from_tenants: 11,
            from_tenants_bytes: 1100,
            to_tenants: 12,
            to_tenants_bytes: 1200,
            dropped: 13,
        },
        origin: if own { "nva" } else { "config" }.into(),
    }
}

pub fn networks() -> Vec<NetworkView> {
    vec![network("red", 100, true), network("blue", 200, false)]
}

pub fn detail(config: &Config, wanted: &str) -> Option<NetworkDetailView> {
    let network =
        networks().into_iter().find(|view| view.name == wanted || view.vnid.to_string() == wanted)?;
    let of = |name: &str| *name == network.name;
    let policies = policies(config).into_iter().filter(|policy| of(&policy.from) || of(&policy.to)).collect();
    Some(NetworkDetailView { policies, peers: peers(config, Some(&network.name)), network })
}

pub fn attachments() -> Vec<AttachmentView> {
    vec![
        AttachmentView {
            name: "vm1".into(),
            port: "access0".into(),
            vlan: Some(7),
            mac: "02:00:00:00:00:0a".into(),
            network: Some("red".into()),
            addresses: vec!["10.0.0.1".into()],
            identifiers: vec!["2001:db8:dddd:0:4000:64:a00:1".into()],
            refused: [("arp_rate", 0), ("copy_rate", 35)]
                .map(|(kind, packets)| RefusedView { kind: kind.into(), packets })
                .into(),
            quarantined: true,
            silent: Vec::new(),
            origin: "nva".into(),
            presence: "departed".into(),
        },
        AttachmentView {
            name: "1".into(),
            port: "access0".into(),
            vlan: None,
            mac: "02:00:00:00:00:0b".into(),
            network: None,
            addresses: Vec::new(),
            identifiers: vec!["2001:db8:dddd:0:2000::4".into()],
            refused: Vec::new(),
            quarantined: false,
            silent: Vec::new(),
            origin: "config".into(),
            presence: "here".into(),
        },
    ]
}

/// All are the operators' here.
pub fn groups() -> Vec<GroupView> {
    let view = |group: Option<&str>, attachment: Option<&str>, kind: &str, expires_s| GroupView {
        network: "red".into(),
        group: group.map(str::to_owned),
        attachment: attachment.map(str::to_owned),
        kind: kind.into(),
        expires_s,
        locators: Vec::new(),
    };
    let copies = GroupView { locators: vec!["fd00:1:0:2::/64".into()], ..view(None, None, "copies", None) };
    vec![
        copies,
        view(Some("239.1.2.3"), Some("vm1"), "static", None),
        view(Some("ff05::1234"), Some("vm1"), "joined", Some(260)),
    ]
}

pub fn policies(config: &Config) -> Vec<PolicyView> {
    let words = config.policies.iter().map(|policy| config.policy_words(*policy));
    words
        .map(|words| PolicyView { from: words.from, to: words.to, via: words.via, origin: "admin".into() })
        .collect()
}

pub fn peers(config: &Config, only: Option<&str>) -> Vec<PeerView> {
    let networks = config.virtual_networks.iter().enumerate();
    let networks = networks.filter(|(_, network)| only.is_none_or(|only| network.name == only));
    let words = networks
        .flat_map(|(n, network)| network.peers.iter().map(move |peer| config.peer_words(n as u16, *peer)));
    words
        .map(|words| PeerView {
            network: words.network,
            address: words.address,
            to: words.to,
            of: words.of,
            origin: "admin".into(),
        })
        .collect()
}

pub fn amend(config: &mut Config, amend: Amend) -> Result<(), AmendRefusal> {
    let rules = AmendmentRules::of(config);
    match amend {
        Amend::Add(amendment) => {
            if let Amendment::Policy(words) = &amendment {
                rules.policy(words).map_err(AmendRefusal::Wrong)?;
            }
            config.amend(&rules, &amendment).map(|_| ()).map_err(AmendRefusal::Forbidden)
        }
        Amend::DeletePolicy(words) => {
            let policy = rules.policy(&words).map_err(AmendRefusal::Wrong)?;
            let before = config.policies.len();
            Arc::make_mut(&mut config.policies).retain(|other| other.straight() != policy);
            if config.policies.len() < before {
                Ok(())
            } else {
                Err(AmendRefusal::NotThere("it is not there".into()))
            }
        }
        Amend::DeletePeer { network, address } => {
            let place = usize::from(config.network_named(&network).map_err(AmendRefusal::Wrong)?);
            let bits = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
            Arc::make_mut(&mut config.virtual_networks)[place].peers.retain(|peer| peer.address != bits);
            Ok(())
        }
    }
}
