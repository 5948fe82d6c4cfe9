//! Moves of attachments between two NVEs, which do their part at once, while many others follow.

use super::lab::{Lab, name, vm_name};
use super::session::{Nve, Session};
use super::{Acknowledged, Arguments, BEAT, Delays, LIMIT, followers, until};
use ilagate::api::manage::manage_client::ManageClient;
use ilagate::api::manage::{MoveMode, MoveStartRequest};
use ilagate::nva::v1::{self, MoveState, down, move_report::What, up};
use ilagate::tls::connect::connect;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Moves that begin in a second, each of another attachment than the ones before.
const PER_SECOND: u64 = 200;

/// What both NVEs of the moves share.
#[derive(Default)]
struct Noted {
    /// When each move was said to have arrived.
    arrived: Mutex<HashMap<u64, Instant>>,
    /// The same, by the revision of the commit.
    commits: Acknowledged,
    done: AtomicU64,
}

/// Many sessions hear of the commit of each of two hundred moves a second.
pub(super) async fn moves(given: &Arguments) -> Value {
    let ends = [0, given.sessions + 1];
    let lab = Lab::with_vms(given.sessions + 2, given.mappings.unwrap_or(0), PER_SECOND);
    let all = followers(&lab, given.sessions).await;
    let noted = Arc::<Noted>::default();
    for nve in ends {
        let session = Nve::of(&lab, nve).moving().open().await.expect("a session");
        tokio::spawn(take_part(session, noted.clone()));
    }
    let channel = connect(&lab.operators(), None, |_| Ok(())).await.expect("a connection");
    let mut operator = ManageClient::new(channel);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, busy) = (Instant::now(), lab.busy());
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / PER_SECOND));
    let (mut refused, wanted) = (0_u64, PER_SECOND * given.seconds);
    for number in 0..wanted {
        tick.tick().await;
        let (vm, round) = (number % PER_SECOND, number / PER_SECOND);
        let [from, to] = if round.is_multiple_of(2) { ends } else { [ends[1], ends[0]] };
        let request = MoveStartRequest {
            attachment: vm_name(vm),
            from: name(from),
            to: name(to),
            port: "a".to_owned(),
            mode: MoveMode::Hot.into(),
            ..MoveStartRequest::default()
        };
        refused += u64::from(operator.move_start(request).await.is_err());
    }
    let is_done = || noted.done.load(Ordering::Relaxed) + refused >= wanted;
    until("the last move", LIMIT, is_done).await;
    let (took, busy) = (began.elapsed(), lab.busy() - busy);
    let last = noted.commits.revisions.lock().unwrap().keys().copied().max().unwrap_or(0);
    let is_there = || {
        all.iter().all(|heard| heard.lock().unwrap().last().is_some_and(|(revision, _)| *revision >= last))
    };
    until("the last commit", LIMIT, is_there).await;
    let mut delays = Delays::default();
    for heard in &all {
        delays.0.extend(Delays::of(&noted.commits, &heard.lock().unwrap()).0);
    }
    json!({
        "case": "moves", "sessions": given.sessions, "per_second": (wanted - refused) as f64 / took.as_secs_f64(),
        "refused": refused, "ms": delays.show(), "cpu_ms_a_move": busy.as_secs_f64() * 1e3 / wanted as f64,
    })
}

/// Does the part of an NVE in each move as soon as it may.
async fn take_part(mut session: Session, noted: Arc<Noted>) {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let message = tokio::select! {
            _ = beat.tick() => {
                session.beat().await;
                continue;
            }
            message = session.next() => message,
        };
        let Ok(message) = message else { return };
        let down::Message::Moves(part) = message else { continue };
        for one in part.moves {
            let what = match (one.state(), one.to_here) {
                (MoveState::Preparing, _) => What::Ready(v1::MoveReady {}),
                (MoveState::Prepared, false) => {
                    What::Detached(v1::MoveDetached { sign: v1::MoveSign::Carrier.into() })
                }
                (MoveState::Detached, true) => {
                    noted.arrived.lock().unwrap().entry(one.id).or_insert_with(Instant::now);
                    let sign = v1::MoveSign::Frame.into();
                    What::Arrived(v1::MoveArrived { token: one.token.clone(), sign })
                }
                (MoveState::Spreading, true) => {
                    if let Some(at) = noted.arrived.lock().unwrap().remove(&one.id) {
                        noted.commits.revisions.lock().unwrap().insert(one.sequence, at);
                        noted.done.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
                (MoveState::Draining, false) => What::Drained(v1::MoveDrained {}),
                _ => continue,
            };
            let report = v1::MoveReport { id: one.id, what: Some(what), state: one.state };
            session.say(up::Message::MoveReport(report)).await;
        }
    }
}
