//! A node is lost and another one has what it had: the authority and `ilactl` as processes, and two NVEs that speak the
//! protocol by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/authority.rs"]
mod support;

use ilagate::nva::v1::{self, GroupPart, down, up};
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Authority, Session, TASK, locator};

/// 10.0.0.5 of the network with VNID 7.
const KEY: u64 = 2 << 61 | 7 << 32 | 0x0a00_0005;
const LEASE: Duration = Duration::from_secs(5);
/// What it may take besides.
const MORE: Duration = Duration::from_millis(300);

async fn run(authority: &Authority, who: &str, words: &str) -> Output {
    let files = authority.files(&format!("operator-{who}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ilactl"));
    command.arg("--json").args(words.split(' ')).arg("--nva").arg(format!("https://{}", authority.address));
    command.arg("--tls-cert").arg(files.certificate).arg("--tls-key").arg(files.key);
    command.arg("--tls-ca").arg(files.authorities).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What an operator is told.
async fn told(authority: &Authority, who: &str, words: &str) -> serde_json::Value {
    let output = run(authority, who, words).await;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}: {why}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Why an operator is refused.
async fn refused(authority: &Authority, who: &str, words: &str) -> String {
    let output = run(authority, who, words).await;
    assert!(!output.status.success(), "{words}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A session of an NVE that takes groups.
async fn session(authority: &Authority, nve: &str) -> Session {
    let mut session = authority.open(&format!("nve-{nve}")).await.unwrap();
    let (versions, name, moves) = (vec![1], nve.to_owned(), Vec::new());
    let hello = v1::Hello { versions, nve: name, boot: 1, asks: false, digests: false, moves, groups: true };
    session.say(up::Message::Hello(hello)).await;
    assert!(matches!(session.next().await, Ok(Some(down::Message::Welcome(_)))));
    session
}

/// They live.
async fn beat(sessions: &[&Session]) {
    for session in sessions {
        session.say(up::Message::Beat(v1::Beat {})).await;
    }
}

/// The next word of the group.
async fn hears(session: &mut Session) -> v1::Group {
    loop {
        if let Some(down::Message::Groups(v1::Groups { groups, .. })) = session.next().await.unwrap()
            && let Some(one) = groups.into_iter().next()
        {
            return one;
        }
    }
}

fn scrape(authority: &Authority) -> String {
    let mut stream = std::net::TcpStream::connect(authority.metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_hears_that_it_has_it_within_the_lease_and_300_ms_and_the_lost_one_that_it_has_it_no_more()
{
    let mut authority = Authority::start();
    authority.again(|directory| {
        let path = directory.join("nva.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("lease_s: 60", "lease_s: 5")).unwrap();
    });
    let network = authority.directory.path().join("red.yaml");
    let red = "{name: red, vnid: 7, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.254}]}";
    std::fs::write(&network, red).unwrap();
    told(&authority, "oscar", &format!("nva network add --file {}", network.display())).await;
    let vm1 = "vm attach nve1 vm1 --port a --mac 02:00:00:00:00:0a --network red --address 10.0.0.5";
    told(&authority, "oscar", vm1).await;
    let mut one = session(&authority, "nve1").await;
    one.register(TASK, locator(1)).await;
    one.register(KEY, locator(1)).await;
    let add = "nva group add db --attachment vm1 --member nve1 --member nve2:b.9";
    let why = refused(&authority, "victor", add).await;
    assert!(why.contains("victor"), "{why}");
    beat(&[&one]).await;
    // One of an earlier release is no member.
    let old = authority.welcome("nve2").await;
    let why = refused(&authority, "oscar", add).await;
    assert!(why.contains("release without groups"), "{why}");
    drop(old);
    beat(&[&one]).await;
    let mut two = session(&authority, "nve2").await;
    told(&authority, "oscar", add).await;
    beat(&[&one, &two]).await;
    assert_eq!(hears(&mut one).await.part(), GroupPart::Active);
    let standby = hears(&mut two).await;
    assert_eq!((standby.part(), standby.attachment.as_str()), (GroupPart::Standby, "vm1"));
    assert!(standby.document.contains("\"vlan\":\"9\"") && standby.keys.len() == 1, "{}", standby.document);
    for (words, why) in [
        ("vm detach nve1 vm1", "group delete db"),
        (add, "already"),
        ("nva group return db", "there already"),
    ] {
        let refused = refused(&authority, "oscar", words).await;
        assert!(refused.contains(why), "{refused}");
        beat(&[&one, &two]).await;
    }
    // A standby that refuses it is given nothing, and shown.
    let kind = Some(v1::object_name::Kind::Attachment("vm1".to_owned()));
    let name = Some(v1::ObjectName { kind });
    let why = "there is no port b here".to_owned();
    two.say(up::Message::TakeProvision(v1::TakeProvision {})).await;
    let refuses = vec![v1::RefusedObject { name, why }];
    for (refused, told_why) in [(refuses, "there is no port b here"), (Vec::new(), "")] {
        two.say(up::Message::Provisioned(v1::Provisioned { revision: 1, refused })).await;
        let shows = async |why: &str| {
            let group = told(&authority, "victor", "nva group show db").await;
            group["members"][1]["refused"].as_str().unwrap_or_default() == why
        };
        let began = Instant::now();
        while !shows(told_why).await {
            beat(&[&one, &two]).await;
            assert!(began.elapsed() < Duration::from_secs(10), "{told_why} is not shown");
        }
    }
    // It says something for the last time, and its stream ends.
    let before = Instant::now();
    beat(&[&one, &two]).await;
    // What waits in a stream that ends is not sent.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let lost = Instant::now();
    drop(one);
    let has_it = async {
        loop {
            let part = tokio::time::timeout(Duration::from_millis(500), hears(&mut two)).await;
            match part {
                Ok(part) => return part,
                // The other one lives.
                Err(_) => beat(&[&two]).await,
            }
        }
    };
    assert_eq!(has_it.await.part(), GroupPart::Active);
    // It was heard for the last time at some moment between these two.
    let (longest, took) = (before.elapsed(), lost.elapsed());
    assert!(longest >= LEASE && took < LEASE + MORE, "{longest:?} {took:?}");
    assert!(authority.said("an NVE is lost, and another member of its group has its identifiers"));
    let records = told(&authority, "victor", "nva records").await;
    // A task of nobody's group stays where it was.
    let owners = [records[0]["owner"].as_str(), records[1]["owner"].as_str()];
    assert_eq!(owners, [Some("nve1"), Some("nve2")]);
    let text = scrape(&authority);
    for line in [
        "ila_nva_failovers_total{reason=\"lease\"} 1",
        "ila_nva_groups{state=\"elsewhere\"} 1",
        "ila_nva_failover_brake 0",
    ] {
        assert!(text.contains(line), "{line}");
    }
    // It comes back, and hears first of all that it is a standby.
    let mut one = session(&authority, "nve1").await;
    let first = one.next().await.unwrap();
    let Some(down::Message::Groups(part)) = first else { panic!("{first:?}") };
    assert_eq!((part.groups[0].part(), part.whole), (GroupPart::Standby, true));
    assert!(matches!(one.register(KEY, locator(1)).await, down::Message::Refused(_)));
    beat(&[&one, &two]).await;
    told(&authority, "oscar", "nva group return db").await;
    assert_eq!(hears(&mut one).await.part(), GroupPart::Active);
    beat(&[&one, &two]).await;
    let group = told(&authority, "victor", "nva group show db").await;
    let whats: Vec<_> =
        group["timeline"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!((whats, group["failovers"].as_u64()), (vec!["declared", "failed over", "returned"], Some(1)));
    assert!(group["timeline"][0]["who"].as_str().unwrap().contains("oscar"));
    told(&authority, "oscar", "nva group delete db").await;
    beat(&[&one, &two]).await;
    let list = told(&authority, "victor", "nva group list").await;
    assert_eq!((list["groups"].as_array().unwrap().len(), &list["brake"]), (0, &serde_json::Value::Null));
    assert!(authority.is_well());
}
