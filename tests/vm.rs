//! An attachment moves: the authority and `ilactl` as processes, and two NVEs that speak the protocol by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/authority.rs"]
mod support;

use ilagate::nva::v1::{self, MoveMode, MoveState, down, move_report::What, up};
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use support::{Authority, Session, TASK, locator};

/// 10.0.0.5 of the network with VNID 7.
const KEY: u64 = 2 << 61 | 7 << 32 | 0x0a00_0005;

fn ilactl(authority: &Authority, who: &str, words: &str) -> Command {
    let files = authority.files(&format!("operator-{who}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ilactl"));
    command.arg("--json").args(words.split(' ')).arg("--nva").arg(format!("https://{}", authority.address));
    command.arg("--tls-cert").arg(files.certificate).arg("--tls-key").arg(files.key);
    command.arg("--tls-ca").arg(files.authorities).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(authority: &Authority, who: &str, words: &str) -> Output {
    let mut command = ilactl(authority, who, words);
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

/// A session of an NVE that takes moves and what operators want.
async fn session(authority: &Authority, nve: &str, modes: &[MoveMode]) -> Session {
    let mut session = authority.open(&format!("nve-{nve}")).await.unwrap();
    let moves = modes.iter().map(|mode| (*mode).into()).collect();
    let (versions, name) = (vec![1], nve.to_owned());
    let hello = v1::Hello { versions, nve: name, boot: 1, asks: false, digests: false, moves, groups: false };
    session.say(up::Message::Hello(hello)).await;
    assert!(matches!(session.next().await, Ok(Some(down::Message::Welcome(_)))));
    if nve == "nve1" {
        // The old one has it; once it moved, it is another one's.
        session.register(KEY, locator(1)).await;
    }
    session.say(up::Message::TakeProvision(v1::TakeProvision {})).await;
    session
}

/// What Prometheus reads.
fn scrape(authority: &Authority) -> String {
    let mut stream = std::net::TcpStream::connect(authority.metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The next word of a move in this state.
async fn hears(session: &mut Session, state: MoveState) -> v1::Move {
    loop {
        if let Some(down::Message::Moves(v1::Moves { moves, .. })) = session.next().await.unwrap()
            && let Some(one) = moves.into_iter().find(|one| one.state() == state)
        {
            return one;
        }
    }
}

async fn says(session: &Session, id: u64, what: What) {
    session.say(up::Message::MoveReport(v1::MoveReport { id, what: Some(what), state: 0 })).await;
}

async fn wants_vm1(authority: &Authority) {
    let network = authority.directory.path().join("red.yaml");
    std::fs::write(
        &network,
        "{name: red, vnid: 7, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.254}]}",
    )
    .unwrap();
    told(authority, "oscar", &format!("nva network add --file {}", network.display())).await;
    let vm1 = "vm attach nve1 vm1 --port a --mac 02:00:00:00:00:0a --network red --address 10.0.0.5";
    told(authority, "oscar", vm1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_moves_although_its_authority_is_killed_on_the_way_and_ilactl_shows_when() {
    let mut authority = Authority::start();
    wants_vm1(&authority).await;
    let modes = [MoveMode::Hot, MoveMode::Cold];
    let [mut old, mut new] =
        [session(&authority, "nve1", &modes).await, session(&authority, "nve2", &modes).await];
    let to = "--from nve1 --to nve2 --port b --vlan 9";
    let why = refused(&authority, "victor", &format!("vm move vm1 {to}")).await;
    assert!(why.contains("victor"), "{why}");
    // It waits until both are ready.
    let mut begin = ilactl(&authority, "oscar", &format!("vm move vm1 {to}"));
    let begun = tokio::task::spawn_blocking(move || begin.output().unwrap());
    let expected = hears(&mut new, MoveState::Preparing).await;
    assert_eq!((expected.to_here, expected.token.len(), expected.peer.as_str()), (true, 16, "nve1"));
    assert!(expected.document.contains("\"vlan\":\"9\""), "{}", expected.document);
    let id = hears(&mut old, MoveState::Preparing).await.id;
    says(&new, id, What::Ready(v1::MoveReady {})).await;
    says(&old, id, What::Ready(v1::MoveReady {})).await;
    let begun: serde_json::Value = serde_json::from_slice(&begun.await.unwrap().stdout).unwrap();
    assert_eq!((begun["state"].as_str(), begun["id"].as_u64()), (Some("prepared"), Some(id)));
    told(&authority, "oscar", "vm detached vm1").await;
    hears(&mut new, MoveState::Detached).await;
    // Its store knows how far it is.
    authority.again(|_| ());
    let [mut old, mut new] =
        [session(&authority, "nve1", &modes).await, session(&authority, "nve2", &modes).await];
    let again = hears(&mut new, MoveState::Detached).await;
    assert_eq!(again.token, expected.token);
    let arrived = |token: &[u8]| What::Arrived(v1::MoveArrived { token: token.to_vec().into(), sign: 3 });
    says(&new, id, arrived(&[0; 16])).await;
    says(&new, id, arrived(&again.token)).await;
    // Nobody else follows: everybody has applied it.
    hears(&mut old, MoveState::Draining).await;
    let records = told(&authority, "victor", "nva records").await;
    assert_eq!((records[0]["owner"].as_str(), records.as_array().unwrap().len()), (Some("nve2"), 1));
    says(&old, id, What::Drained(v1::MoveDrained {})).await;
    while !matches!(old.next().await.unwrap(), Some(down::Message::Moves(part)) if part.over == [id]) {}
    let vms = told(&authority, "victor", "vm show vm1").await;
    assert_eq!((vms[0]["nve"].as_str(), vms[0]["port"].as_str()), (Some("nve2"), Some("b")));
    let moves = &vms[0]["moves"];
    let timeline = moves[0]["timeline"].as_array().unwrap();
    let whats: Vec<&str> = timeline.iter().map(|moment| moment["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["preparing", "prepared", "detached", "arrived", "spreading", "draining"]);
    let by = |n: usize| (timeline[n]["who"].as_str().unwrap(), timeline[n]["how"].as_str().unwrap());
    let oscar = "ilagate://lab/operator/oscar";
    assert_eq!((by(0).0, by(2), by(3)), (oscar, (oscar, "told so"), ("nve2", "RARP")));
    assert_eq!(moves[0]["state"], "done");
    let why = refused(&authority, "oscar", "vm arrived vm1").await;
    assert!(why.contains("attachment vm1 does not move"), "{why}");
    let metrics = scrape(&authority);
    for line in [
        "ila_nva_moves_ended_total{result=\"done\"} 1",
        "ila_nva_moves_refused_total 1",
        "ila_nva_move_spread_seconds_count 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }
    assert!(authority.is_well());
    let hex: String = expected.token.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        !authority.said(&hex) && authority.said("what an NVE says of a move is refused"),
        "the log has what is refused, and no token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_an_older_release_is_told_of_no_moves_and_takes_none() {
    let authority = Authority::start();
    wants_vm1(&authority).await;
    let mut old = authority.welcome("nve1").await;
    for identifier in [TASK, KEY] {
        assert!(matches!(old.register(identifier, locator(1)).await, down::Message::Registered(_)));
    }
    let _new = session(&authority, "nve2", &[MoveMode::Cold]).await;
    let why = refused(&authority, "oscar", "vm move vm1 --from nve1 --to nve2 --port b").await;
    assert!(why.contains("nve1 takes no moves: its release is older than them; update it"), "{why}");
    // And goes on as before.
    old.say(up::Message::Beat(v1::Beat {})).await;
    assert!(matches!(old.next().await.unwrap(), Some(down::Message::Progress(_))));
    assert!(told(&authority, "victor", "vm list --moves").await.as_array().unwrap().is_empty());
}
