//! Whether the node lives, and whether it forwards.

use crate::node::metrics;
use crate::node::stats::{PortFacts, Stats, WorkerStats};
use crate::telemetry::http::Site;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a worker may be busy with one burst or asleep and still count as alive.
const WORKER_SILENCE: Duration = Duration::from_secs(1);
/// Silence of the control thread after which no change of routes, neighbours and mappings can be relied on.
const CONTROL_SILENCE: Duration = Duration::from_secs(10);
/// Silence of the control thread after which only a restart helps. A batch of millions of mappings takes seconds.
const CONTROL_LOST: Duration = Duration::from_secs(30);
/// Time between two looks at the workers.
const STEP: Duration = Duration::from_millis(5);

impl Site for Stats {
    const READY: &str = "forwarding\n";

    async fn metrics(&self) -> String {
        metrics::render(self)
    }

    async fn what_is_dead(&self) -> Vec<String> {
        what_is_dead(self).await
    }

    async fn what_is_missing(&self) -> Vec<String> {
        what_is_missing(self).await
    }
}

/// The reasons why a restart would help; none while the node lives.
async fn what_is_dead(stats: &Stats) -> Vec<String> {
    let silent = silent_workers(stats).await;
    let mut reasons: Vec<String> =
        silent.into_iter().filter(|(_, polls)| *polls > 0).map(|(worker, _)| hangs(worker)).collect();
    reasons.extend(control_hangs(stats, CONTROL_LOST));
    reasons
}

/// The reasons why no packets should be sent to this node; none while it forwards.
async fn what_is_missing(stats: &Stats) -> Vec<String> {
    let mut reasons = Vec::new();
    if stats.control.stopping() {
        reasons.push("stopping: the node was told to stop".to_owned());
    }
    for (worker, polls) in silent_workers(stats).await {
        reasons.push(match polls {
            0 => format!("starting: worker {worker} has not polled yet"),
            _ => hangs(worker),
        });
    }
    reasons.extend(control_hangs(stats, CONTROL_SILENCE));
    reasons.extend(no_way_out(stats));
    if stats.nva.forgot.load(Ordering::Relaxed) {
        let stale_s = stats.nva.stale_s.load(Ordering::Relaxed);
        reasons.push(format!(
            "no session with the authority for {stale_s} s, and its mappings went after nva.grace_s; look at the authority"
        ));
    }
    reasons
}

fn hangs(worker: usize) -> String {
    format!("worker {worker} has not polled for {} s; look at the log", WORKER_SILENCE.as_secs())
}

fn control_hangs(stats: &Stats, limit: Duration) -> Option<String> {
    let silence = stats.control_silence();
    (silence > limit)
        .then(|| format!("the control thread has not turned for {} s; look at the log", silence.as_secs()))
}

/// Whether every way out of this node is down, and why each is.
fn no_way_out(stats: &Stats) -> Vec<String> {
    let census = stats.census();
    let ways: Vec<_> = stats.ports.iter().enumerate().filter(|(_, port)| port.role != "access").collect();
    let known = |n: usize| census.ports.get(n);
    if ways.is_empty() || ways.iter().any(|(n, _)| known(*n).is_some_and(|port| port.up)) {
        return Vec::new();
    }
    if census.ports.is_empty() {
        return vec!["starting: links are not known yet".to_owned()];
    }
    let names: Vec<&str> = ways.iter().map(|(_, port)| port.name.as_str()).collect();
    let all = format!("no link: {} down; look at cables and ilactl port list", names.join(", "));
    let why = |(n, port): &(usize, &PortFacts)| {
        let problem = known(*n).map(|port| port.problem.as_str()).filter(|problem| !problem.is_empty())?;
        Some(format!("{}: {problem}", port.name))
    };
    std::iter::once(all).chain(ways.iter().filter_map(why)).collect()
}

/// The workers that do not poll within [`WORKER_SILENCE`], with the polls that they did before.
async fn silent_workers(stats: &Stats) -> Vec<(usize, u64)> {
    let polls =
        |worker: &WorkerStats| worker.polls.bursts.value().wrapping_add(worker.polls.empty_polls.value());
    let before: Vec<u64> = stats.workers.iter().map(polls).collect();
    let mut waited = Duration::ZERO;
    loop {
        let now = stats.workers.iter().map(polls).zip(&before).enumerate();
        let silent: Vec<(usize, u64)> =
            now.filter(|(_, (now, before))| now == *before).map(|(worker, (now, _))| (worker, now)).collect();
        if silent.is_empty() || waited >= WORKER_SILENCE {
            return silent;
        }
        tokio::time::sleep(STEP).await;
        waited += STEP;
    }
}
