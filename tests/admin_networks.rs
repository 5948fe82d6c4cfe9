//! Virtual networks, attachments, policies and peers: `ilactl` and the admin API over a real Unix socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/fake_node.rs"]
mod support;

use ilagate::api::v1;
use ilagate::api::v1::admin_client::AdminClient;
use serde_json::json;
use support::{Fake, Node};
use tonic::Code;

const TASK: &str = "2001:db8:dddd:0:2000::4";

#[test]
fn networks_are_listed_and_shown_whole() {
    let node = Node::start();
    let text = node.text(&["vn", "list"]);
    assert_eq!(
        text,
        "NETWORK  VNID  DOMAIN  ATTACHED  MAPPINGS  SENT  RECEIVED  DROPPED  ORIGIN  PREFIXES\n\
         red       100  tasks          1         7    11        12       13  nva     2001:db8:a::/96 10.0.0.0/24\n\
         blue      200  tasks          1         7     -         -        -  config  2001:db8:a::/96 10.0.0.0/24\n"
    );
    node.text(&["policy", "add", "red", "outside"]);
    node.text(&["peer", "add", "red", "10.0.0.200", "--to", TASK]);
    let shown = node.json(&["vn", "get", "100"]);
    let mut listed = node.json(&["vn", "list"])[0].clone();
    assert_eq!((&shown["name"], &shown["counters"]["from_tenants_bytes"]), (&json!("red"), &json!(1100)));
    let more = listed.as_object_mut().unwrap();
    more.insert("policies".into(), json!([{"from": "red", "to": "outside", "via": null, "origin": "admin"}]));
    let peer = json!({"network": "red", "address": "10.0.0.200", "to": TASK, "of": null, "origin": "admin"});
    more.insert("peers".into(), json!([peer]));
    assert_eq!(shown, listed);
    let text = node.text(&["vn", "get", "red"]);
    for line in [
        "network      red\nvnid         100\ndomain       tasks\nprefix       2001:db8:a::/96\n",
        "prefix       10.0.0.0/24 (gateway 10.0.0.254)\nmac          02:00:5e:00:00:01\nmtu          1500\norigin       nva\n",
        "attachments  1\nmappings     7\nsent         11 packets, 1100 bytes\nreceived     12 packets, 1200 bytes\n",
        "dropped      13 packets\n\nFROM  TO       VIA  ORIGIN\nred   outside  -    admin\n\nNETWORK",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = node.text(&["vn", "get", "blue"]);
    assert!(text.contains("13 packets, with all networks beyond the limit"), "{text}");
    let error = node.error(&["vn", "get", "green"]);
    assert_eq!(error, "ilactl: `green` is no virtual network; `ilactl vn list` shows them\n");
}

#[test]
fn attachments_are_listed_and_shown() {
    let node = Node::start();
    let text = node.text(&["attachment", "list"]);
    assert_eq!(
        text,
        "ATTACHMENT  PORT     VLAN  MAC                NETWORK  ORIGIN  PRESENCE  ADDRESSES\n\
         vm1         access0     7  02:00:00:00:00:0a  red      nva     departed  10.0.0.1\n\
         1           access0     -  02:00:00:00:00:0b  -        config  here      2001:db8:dddd:0:2000::4\n"
    );
    assert_eq!(node.json(&["attachment", "list", "--network", "red"]).as_array().unwrap().len(), 1);
    assert_eq!(node.json(&["attachment", "list", "--network", "blue"]), json!([]));
    let shown = node.json(&["attachment", "get", "vm1"]);
    assert_eq!(
        (&shown["vlan"], &shown["identifiers"][0]),
        (&json!(7), &json!("2001:db8:dddd:0:4000:64:a00:1"))
    );
    let text = node.text(&["attachment", "get", "vm1"]);
    assert!(
        text.contains(
            "presence     departed\nnetwork      red\naddress      10.0.0.1\nidentifier   2001:db8:dddd:0:4000:64:a00:1\n\
             refused      35 copy_rate\nquarantine   yes\n"
        ),
        "{text}"
    );
    assert_eq!(
        (&shown["refused"], &shown["quarantined"]),
        (&json!([{"kind": "arp_rate", "packets": 0}, {"kind": "copy_rate", "packets": 35}]), &json!(true))
    );
    let text = node.text(&["attachment", "get", "1"]);
    assert!(["vlan", "network", "refused", "quarantine"].iter().all(|word| !text.contains(word)), "{text}");
    let error = node.error(&["attachment", "get", "vm9"]);
    assert!(error.contains("`vm9` is no attachment of this node; `ilactl attachment list`"), "{error}");
    assert!(
        node.error(&["attachment", "list", "--network", "green"]).contains("`green` is no virtual network")
    );
}

#[test]
fn a_policy_from_add_to_del() {
    let node = Node::start();
    assert_eq!(node.text(&["policy", "list"]), "FROM  TO  VIA  ORIGIN\n");
    assert_eq!(node.text(&["policy", "add", "red", "blue"]), "policy from red to blue: added\n");
    assert_eq!(node.json(&["policy", "add", TASK, "red"]), json!({"result": "added"}));
    let error = node.error(&["policy", "add", "red", "blue"]);
    assert_eq!(error, "ilactl: the policy from red to blue is there already\n");
    let listed = node.json(&["policy", "list"]);
    assert_eq!(listed[1], json!({"from": TASK, "to": "red", "via": null, "origin": "admin"}));
    assert_eq!(node.text(&["policy", "del", "red", "blue"]), "policy from red to blue: deleted\n");
    assert_eq!(
        node.text(&["policy", "list"]),
        format!("FROM                     TO   VIA  ORIGIN\n{TASK}  red  -    admin\n")
    );
    assert_eq!(node.error(&["policy", "del", "red", "blue"]), "ilactl: it is not there\n");
    // Through a gateway; it is deleted by its ends.
    node.text(&["policy", "add", "red", "blue", "--via", "fd00:9::/64"]);
    let listed = node.json(&["policy", "list"]);
    assert_eq!(listed[1], json!({"from": "red", "to": "blue", "via": "fd00:9::/64", "origin": "admin"}));
    let error = node.error(&["policy", "add", "red", "outside", "--via", "fd00:9::/64"]);
    assert!(error.contains("a gateway is between two virtual networks"), "{error}");
    node.text(&["policy", "del", "red", "blue"]);
    assert_eq!(node.run(&["policy", "add", "red"]).status.code(), Some(2));
}

#[test]
fn a_peer_from_add_to_del() {
    let node = Node::start();
    let added = node.text(&["peer", "add", "red", "10.0.0.200", "--to", TASK]);
    assert_eq!(added, "peer 10.0.0.200 of network red: added\n");
    let tenant = ["peer", "add", "blue", "10.0.0.201", "--to", "10.0.0.5", "--of", "red"];
    assert_eq!(node.json(&tenant), json!({"result": "added"}));
    assert_eq!(
        node.text(&["peer", "list"]),
        format!(
            "NETWORK  ADDRESS     TO                       OF   ORIGIN\n\
             red      10.0.0.200  {TASK}  -    admin\n\
             blue     10.0.0.201  10.0.0.5                 red  admin\n"
        )
    );
    let listed = node.json(&["peer", "list", "--network", "blue"]);
    let expected = json!([{"network": "blue", "address": "10.0.0.201", "to": "10.0.0.5", "of": "red", "origin": "admin"}]);
    assert_eq!(listed, expected);
    let error = node.error(&["peer", "add", "red", "10.0.0.254", "--to", "2001:db8:dddd:0:2000::5"]);
    assert!(error.contains("10.0.0.254 is the gateway of 10.0.0.0/24"), "{error}");
    assert!(node.error(&["peer", "list", "--network", "green"]).contains("`green` is no virtual network"));
    assert_eq!(node.json(&["peer", "del", "blue", "10.0.0.201"]), json!({"result": "deleted"}));
    assert_eq!(node.json(&["peer", "list", "--network", "blue"]), json!([]));
}

#[test]
fn completions_know_networks_and_policies() {
    let node = Node::start();
    let script = node.text(&["completions", "bash"]);
    for word in
        ["ilactl__subcmd__vn", "ilactl__subcmd__attachment", "ilactl__subcmd__policy", "ilactl__subcmd__peer"]
    {
        assert!(script.contains(word) || script.contains(&word.replace("subcmd__", "")), "{word}");
    }
}

#[test]
fn refusals_have_the_codes_that_the_api_promises() {
    let node = Node::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = format!("unix://{}", node.socket.display());
        let mut calls = AdminClient::connect(path).await.unwrap();
        let network = || "green".to_owned();
        let answer = calls.network_get(v1::NetworkGetRequest { network: network() }).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
        let answer = calls.peer_list(v1::PeerListRequest { network: Some(network()) }).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
        let add = |from: String, to: &str| v1::PolicyAddRequest { from, to: to.into(), via: None };
        let answer = calls.policy_add(add(network(), "red")).await;
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
        calls.policy_add(add("red".into(), "blue")).await.unwrap();
        let answer = calls.policy_add(add("red".into(), "blue")).await;
        assert_eq!(answer.unwrap_err().code(), Code::FailedPrecondition);
        let green = v1::PolicyDeleteRequest { from: network(), to: "red".into() };
        assert_eq!(calls.policy_delete(green).await.unwrap_err().code(), Code::InvalidArgument);
        let absent = v1::PolicyDeleteRequest { from: "blue".into(), to: "red".into() };
        assert_eq!(calls.policy_delete(absent).await.unwrap_err().code(), Code::NotFound);
        let long = "x".repeat(100_000);
        let answer = calls.network_get(v1::NetworkGetRequest { network: long }).await.unwrap_err();
        assert!(answer.code() == Code::NotFound && answer.message().len() < 200, "{answer}");
    });
    let gone = Node::with(Fake { gone: true, ..Fake::default() });
    assert!(gone.error(&["vn", "list"]).contains("the node is shutting down"));
}

#[test]
fn groups_are_listed_with_their_members_and_where_copies_go() {
    let node = Node::start();
    assert_eq!(
        node.text(&["group", "list"]),
        "NETWORK  GROUP       MEMBER  KIND    EXPIRES  LOCATORS\n\
         red      -           -       copies        -  fd00:1:0:2::/64\n\
         red      239.1.2.3   vm1     static        -  -\n\
         red      ff05::1234  vm1     joined    260 s  -\n"
    );
    let listed = node.json(&["group", "list"]);
    let joined = json!({"network": "red", "group": "ff05::1234", "attachment": "vm1", "kind": "joined", "expires_s": 260,
        "locators": []});
    assert_eq!((listed.as_array().unwrap().len(), &listed[2]), (3, &joined));
    assert_eq!(listed[0]["locators"], json!(["fd00:1:0:2::/64"]));
}
