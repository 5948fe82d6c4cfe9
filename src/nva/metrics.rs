//! What Prometheus and probes read of an authority.

use super::addresses::AddressCounts;
use super::authority::{Authority, Drifts, Triangles};
use super::convergence::{BOUNDS_MS, Convergence};
use super::failover::{Cause, GroupCounts};
use super::inbox::AuthorityHandle;
use super::interest::Asked;
use super::mobility::{MoveCounts, MoveState};
use crate::telemetry::families::families;
use crate::telemetry::http::Site;
use crate::telemetry::{Scrape, histogram, histogram_head, histogram_of};
use std::time::{Duration, Instant};

families! {
    /// Version of the program and name of the authority; always 1.
    BUILD_INFO: Gauge = "ila_nva_build_info";
    /// Seconds since the authority started.
    UPTIME: Gauge = "ila_nva_uptime_seconds";
    /// Number of transactions of the registry so far.
    REVISION: Gauge = "ila_nva_revision";
    /// Identifiers by state: held, or released and kept for their last owner.
    IDENTIFIERS: Gauge = "ila_nva_identifiers";
    /// Identifiers that went to and fro between NVEs and are frozen where they are.
    FROZEN: Gauge = "ila_nva_frozen_identifiers";
    /// NVEs by state: with a session, with one at another authority, or without one.
    NVES: Gauge = "ila_nva_nves";
    /// Transactions that the slowest NVE with a session that follows all of them has yet to say that it applied.
    LAG: Gauge = "ila_nva_lag_transactions";
    /// Time from a transaction being durable until an NVE that was subscribed then says that it applied it, by NVE and
    /// transaction.
    CONVERGENCE: Histogram = "ila_nva_convergence_seconds";
    /// The same for transactions that changed something in a virtual network, by its name, or by VNID and SIR prefix. The
    /// first 256 networks have one each; what changed in others is `other`.
    NETWORK_CONVERGENCE: Histogram = "ila_nva_network_convergence_seconds";
    /// How long the NVE that is away for longest has no session at any authority; 0 if none is away.
    ABSENCE: Gauge = "ila_nva_longest_absence_seconds";
    /// Identifiers that NVEs asked for and that were answered, by result: held, or nobody (has it).
    QUERIED: Counter = "ila_nva_queried_identifiers_total";
    /// MAC addresses that NVEs asked for, by result: held, nobody (has it), or refused (the NVE has no tenants of the
    /// network).
    SOUGHT: Counter = "ila_nva_sought_macs_total";
    /// Requests of NVEs for addresses of tenants that asked by RARP, by result: allocated or refused.
    ADDRESSES: Counter = "ila_nva_addresses_total";
    /// Virtual networks whose gateway has another MAC address at an NVE than it should, counted for each NVE with a session
    /// here (ilactl nva networks).
    GATEWAYS: Gauge = "ila_nva_differing_gateway_macs";
    /// Events that operators were told of, by kind (ilactl nva watch).
    EVENTS: Counter = "ila_nva_events_total";
    /// Operators and pages that watch events.
    WATCHERS: Gauge = "ila_nva_watchers";
    /// Events that those who watch missed, because they were too slow.
    MISSED: Counter = "ila_nva_missed_events_total";
    /// Requests by result: registered or released, and refused.
    REQUESTS: Counter = "ila_nva_requests_total";
    /// Transactions by result: durable, refused by the store, or durable and of other authorities.
    COMMITS: Counter = "ila_nva_commits_total";
    /// 1 while the store can be reached.
    STORE: Gauge = "ila_nva_store_up";
    /// Snapshots that were begun, because an NVE had nothing or was too far behind.
    SNAPSHOTS: Counter = "ila_nva_snapshots_total";
    /// Sessions that went on from a revision without a snapshot.
    RESUMED: Counter = "ila_nva_resumed_total";
    /// Digests that NVEs were told, to be compared with what they have.
    DIGESTS: Counter = "ila_nva_digests_total";
    /// What NVEs had that differed from the registry although nothing was on its way, and was told them anew, by what:
    /// mappings (parts of them, 256 for each SIR domain) or objects (networks, policies and attachments).
    DRIFT: Counter = "ila_nva_drift_total";
    /// Triangular packets that ILA routers told of, by result: redirected (the NVE of the sender was told where to send),
    /// needless (it knows, or does not ask), or unheard (beyond the rate of one router).
    TRIANGULAR: Counter = "ila_nva_triangular_total";
    /// Groups for hot failover: where they were declared to be, or elsewhere.
    GROUPS: Gauge = "ila_nva_groups";
    /// Groups whose identifiers went to another member because one was lost, by reason. Each authority counts its own.
    FAILOVERS: Counter = "ila_nva_failovers_total";
    /// Identifiers of groups that went back because an operator said so. Each authority counts its own.
    GROUP_RETURNS: Counter = "ila_nva_group_returns_total";
    /// Whether nobody fails over because too many NVEs vanished at once.
    BRAKE: Gauge = "ila_nva_failover_brake";
    /// How often that began.
    BRAKES: Counter = "ila_nva_failover_brakes_total";
    /// Moves of attachments that are not over, by state.
    MOVES: Gauge = "ila_nva_moves";
    /// Those of them that left their NVE and are away for longer than they may.
    MOVES_OVERDUE: Gauge = "ila_nva_moves_overdue";
    /// Moves that are over, by result: done or aborted. Each authority of a store counts all of them.
    MOVES_ENDED: Counter = "ila_nva_moves_ended_total";
    /// What NVEs said of moves without the token, or without a part in them.
    MOVES_REFUSED: Counter = "ila_nva_moves_refused_total";
    /// Time from an attachment being detached at its old NVE until it is the new one's. Each authority counts all of them.
    MOVE_AWAY: Histogram = "ila_nva_move_away_seconds";
    /// Time from then until all NVEs with a session have applied it. Each authority counts all of them.
    MOVE_SPREAD: Histogram = "ila_nva_move_spread_seconds";
    /// Sessions that ended by the authority: silent, revoked, broken, replaced.
    ENDED: Counter = "ila_nva_ended_sessions_total";
}

/// How long the authority may be busy and still count as alive.
const SILENCE: Duration = Duration::from_secs(10);

/// What the endpoint tells.
pub(super) struct Endpoint {
    pub(super) handle: AuthorityHandle,
    pub(super) name: String,
    pub(super) began: Instant,
}

impl Site for Endpoint {
    const READY: &str = "serving\n";

    async fn metrics(&self) -> String {
        let scrape = Scrape::of(FAMILIES);
        scrape.set(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION")), ("nva", &self.name)], 1.0);
        scrape.set(UPTIME, &[], self.began.elapsed().as_secs_f64());
        let Ok((census, counts)) = self.handle.census(Census::of).await else { return scrape.render() };
        scrape.set(REVISION, &[], census.revision as f64);
        scrape.set(IDENTIFIERS, &[("state", "held")], census.held as f64);
        scrape.set(IDENTIFIERS, &[("state", "released")], census.released as f64);
        scrape.set(FROZEN, &[], census.frozen as f64);
        scrape.set(NVES, &[("state", "session")], census.live as f64);
        scrape.set(NVES, &[("state", "elsewhere")], census.elsewhere as f64);
        scrape.set(NVES, &[("state", "away")], census.away as f64);
        scrape.set(LAG, &[], census.lag as f64);
        scrape.count(REQUESTS, &[("result", "accepted")], counts.accepted);
        scrape.count(REQUESTS, &[("result", "refused")], counts.refused);
        scrape.count(COMMITS, &[("result", "durable")], counts.durable);
        scrape.count(COMMITS, &[("result", "refused")], counts.not_durable);
        scrape.count(COMMITS, &[("result", "others")], counts.others);
        scrape.set(STORE, &[], f64::from(u8::from(!counts.store_is_away)));
        scrape.count(SNAPSHOTS, &[], counts.snapshots);
        scrape.count(RESUMED, &[], counts.resumed);
        scrape.count(DIGESTS, &[], counts.digests);
        scrape.count(DRIFT, &[("what", "mappings")], census.drifts.mappings);
        scrape.count(DRIFT, &[("what", "objects")], census.drifts.objects);
        scrape.count(ENDED, &[], counts.ended);
        scrape.set(ABSENCE, &[], census.longest_absence_s as f64);
        scrape.count(QUERIED, &[("result", "held")], census.asked.held);
        scrape.count(QUERIED, &[("result", "nobody")], census.asked.nobody);
        scrape.count(SOUGHT, &[("result", "held")], census.asked.macs_held);
        scrape.count(SOUGHT, &[("result", "nobody")], census.asked.macs_nobody);
        scrape.count(SOUGHT, &[("result", "refused")], census.asked.macs_refused);
        scrape.count(ADDRESSES, &[("result", "allocated")], census.addresses.allocated);
        scrape.count(ADDRESSES, &[("result", "refused")], census.addresses.refused);
        scrape.set(GATEWAYS, &[], census.differing_gateways as f64);
        let hub = self.handle.hub();
        for (kind, count) in hub.counts() {
            scrape.count(EVENTS, &[("kind", kind.label())], count);
        }
        let (watchers, missed) = hub.watchers();
        scrape.set(WATCHERS, &[], watchers as f64);
        scrape.count(MISSED, &[], missed);
        for (result, count) in [
            ("redirected", census.triangles.redirected),
            ("needless", census.triangles.needless),
            ("unheard", census.triangles.unheard),
        ] {
            scrape.count(TRIANGULAR, &[("result", result)], count);
        }
        for (state, count) in MoveState::ALL.iter().zip(census.moves) {
            scrape.set(MOVES, &[("state", state.word())], count as f64);
        }
        for (state, count) in ["as_declared", "elsewhere"].into_iter().zip(census.groups) {
            scrape.set(GROUPS, &[("state", state)], count as f64);
        }
        for (cause, count) in Cause::ALL.iter().zip(census.regrouped.failovers) {
            scrape.count(FAILOVERS, &[("reason", cause.word())], count);
        }
        scrape.count(GROUP_RETURNS, &[], census.regrouped.returns);
        let (is_braked, brakes) = census.brake;
        scrape.set(BRAKE, &[], f64::from(u8::from(is_braked)));
        scrape.count(BRAKES, &[], brakes);
        scrape.set(MOVES_OVERDUE, &[], census.overdue as f64);
        scrape.count(MOVES_ENDED, &[("result", "done")], census.moved.done);
        scrape.count(MOVES_ENDED, &[("result", "aborted")], census.moved.aborted);
        scrape.count(MOVES_REFUSED, &[], census.refused_moves);
        let times = [
            (CONVERGENCE, census.convergence),
            (MOVE_AWAY, census.moved.away),
            (MOVE_SPREAD, census.moved.spread),
        ];
        let times = times.into_iter().map(|(family, Convergence { buckets, sum_ms })| {
            let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3);
            histogram(family, bounds, &buckets, sum_ms as f64 / 1e3)
        });
        let mut text = scrape.render() + &times.collect::<String>();
        text.push_str(&histogram_head(NETWORK_CONVERGENCE));
        let (own, others) = census.by_network;
        for (network, Convergence { buckets, sum_ms }) in
            own.into_iter().chain([("other".to_owned(), others)])
        {
            let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3);
            let label = format!("network=\"{network}\"");
            text.push_str(&histogram_of(NETWORK_CONVERGENCE, &label, bounds, &buckets, sum_ms as f64 / 1e3));
        }
        text
    }

    async fn what_is_dead(&self) -> Vec<String> {
        let looked = tokio::time::timeout(SILENCE, self.handle.look(|_| ())).await;
        match looked {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(_)) => vec!["stopping: the authority was told to stop".to_owned()],
            Err(_) => vec![format!("the authority did not answer within {} s", SILENCE.as_secs())],
        }
    }

    async fn what_is_missing(&self) -> Vec<String> {
        let dead = self.what_is_dead().await;
        if !dead.is_empty() {
            return dead;
        }
        match self.handle.census(|_| ()).await {
            Ok(((), counts)) if counts.store_is_away => {
                vec!["the store is away: what NVEs ask for waits; the log says why".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// The registry and its sessions at one moment.
#[derive(Debug, Clone)]
pub(super) struct Census {
    revision: u64,
    held: usize,
    released: usize,
    frozen: usize,
    live: usize,
    elsewhere: usize,
    away: usize,
    lag: u64,
    triangles: Triangles,
    drifts: Drifts,
    convergence: Convergence,
    by_network: (Vec<(String, Convergence)>, Convergence),
    asked: Asked,
    addresses: AddressCounts,
    differing_gateways: usize,
    longest_absence_s: u64,
    /// By state.
    moves: [usize; MoveState::ALL.len()],
    overdue: usize,
    moved: MoveCounts,
    refused_moves: u64,
    /// Where they were declared to be, and elsewhere.
    groups: [usize; 2],
    regrouped: GroupCounts,
    brake: (bool, u64),
}

impl Census {
    fn of(authority: &Authority) -> Self {
        let registry = authority.registry();
        let (held, released) = registry.counts();
        let live = authority.nves().count();
        let mut moves = [0; MoveState::ALL.len()];
        for one in authority.moves().iter() {
            if let Some(count) = moves.get_mut(one.state as usize) {
                *count += 1;
            }
        }
        let as_declared = authority.groups().iter().filter(|group| group.is_as_declared()).count();
        let (braked, brakes) = authority.brake();
        let elsewhere = authority.elsewhere().count();
        let longest_ms = authority.away_ms().into_values().max();
        Census {
            elsewhere,
            revision: registry.revision(),
            held,
            released,
            frozen: registry.frozen_count(),
            live,
            away: registry.nves().count().saturating_sub(live + elsewhere),
            lag: authority.lag(),
            triangles: authority.triangles(),
            drifts: authority.drifts(),
            convergence: *authority.convergence(),
            by_network: authority.convergence_by_network(),
            asked: authority.asked(),
            addresses: authority.addresses(),
            differing_gateways: authority.differing_gateways(),
            longest_absence_s: longest_ms.unwrap_or(0) / 1_000,
            moves,
            overdue: authority.moves().iter().filter(|one| one.overdue).count(),
            moved: *authority.moves().counts(),
            refused_moves: authority.refused_moves(),
            groups: [as_declared, authority.groups().len() - as_declared],
            regrouped: *authority.group_counts(),
            brake: (braked.is_some(), brakes),
        }
    }
}
