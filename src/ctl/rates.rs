//! `ilactl stats`: totals, or the rates between two samples.

use super::client::Client;
use super::error::CtlError;
use super::output::{Output, Table, si};
use super::show;
use crate::api::v1;
use crate::api::views::{FateView, PortView, StatsView, WorkerView};
use crate::api::wire::Wire;
use serde::Serialize;

/// Rates over one interval.
#[derive(Debug, PartialEq, Serialize)]
struct Rates {
    /// Length of the interval in seconds.
    interval_s: f64,
    workers: Vec<WorkerRates>,
    ports: Vec<PortRates>,
}

/// Packets a second by fate.
#[derive(Debug, PartialEq, Serialize)]
struct FateRates {
    received_pps: f64,
    received_bps: f64,
    forwarded_pps: f64,
    replied_pps: f64,
    punted_pps: f64,
    dropped_pps: f64,
    copied_pps: f64,
    lost_copies_pps: f64,
}

#[derive(Debug, PartialEq, Serialize)]
struct WorkerRates {
    worker: u16,
    core: u16,
    #[serde(flatten)]
    fates: FateRates,
    /// Mean packets per burst in the interval.
    burst_fill: f64,
    /// Share of polls in the interval that found nothing, 0 to 1.
    idle_ratio: f64,
}

#[derive(Debug, PartialEq, Serialize)]
struct PortRates {
    name: String,
    up: bool,
    #[serde(flatten)]
    fates: FateRates,
    sent_pps: f64,
    sent_bps: f64,
    unsent_pps: f64,
}

/// The growth of a counter; one that fell has started again.
fn grown(old: u64, new: u64) -> f64 {
    new.checked_sub(old).unwrap_or(new) as f64
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl FateRates {
    fn between(old: &FateView, new: &FateView, seconds: f64) -> Self {
        let rate = |old: u64, new: u64| share(grown(old, new), seconds);
        FateRates {
            received_pps: rate(old.received, new.received),
            received_bps: rate(old.received_bytes, new.received_bytes) * 8.0,
            forwarded_pps: rate(old.forwarded, new.forwarded),
            replied_pps: rate(old.replied, new.replied),
            punted_pps: rate(old.punted, new.punted),
            dropped_pps: rate(old.dropped, new.dropped),
            copied_pps: rate(old.copied, new.copied),
            lost_copies_pps: rate(old.lost_copies, new.lost_copies),
        }
    }
}

impl Rates {
    fn between(old: &StatsView, new: &StatsView) -> Self {
        let seconds = new.at_us.saturating_sub(old.at_us) as f64 / 1e6;
        let workers = old.workers.iter().zip(&new.workers).map(|(old, new): (&WorkerView, &WorkerView)| {
            let bursts = grown(old.bursts, new.bursts);
            let empty = grown(old.empty_polls, new.empty_polls);
            WorkerRates {
                worker: new.worker,
                core: new.core,
                fates: FateRates::between(&old.fates, &new.fates, seconds),
                burst_fill: share(grown(old.fates.received, new.fates.received), bursts),
                // A worker without a queue polls nothing and is idle.
                idle_ratio: 1.0 - share(bursts, bursts + empty),
            }
        });
        let ports = old.ports.iter().zip(&new.ports).map(|(old, new): (&PortView, &PortView)| PortRates {
            name: new.name.clone(),
            up: new.up,
            fates: FateRates::between(&old.counters, &new.counters, seconds),
            sent_pps: share(grown(old.sent, new.sent), seconds),
            sent_bps: share(grown(old.sent_bytes, new.sent_bytes), seconds) * 8.0,
            unsent_pps: share(grown(old.unsent, new.unsent), seconds),
        });
        Rates { interval_s: seconds, workers: workers.collect(), ports: ports.collect() }
    }

    fn write(&self, out: &mut Output<'_>) -> Result<(), CtlError> {
        let fates = |rates: &FateRates| {
            [
                rates.received_pps,
                rates.received_bps,
                rates.forwarded_pps,
                rates.replied_pps,
                rates.punted_pps,
                rates.dropped_pps,
            ]
            .map(si)
        };
        let mut table = Table::new(&[
            ">WORKER",
            ">CORE",
            ">RX PPS",
            ">RX BPS",
            ">FORWARDED",
            ">REPLIED",
            ">PUNTED",
            ">DROPPED",
            ">BURST",
            ">IDLE",
        ]);
        for worker in &self.workers {
            let mut row = vec![worker.worker.to_string(), worker.core.to_string()];
            row.extend(fates(&worker.fates));
            row.push(format!("{:.1}", worker.burst_fill));
            row.push(format!("{:.1}%", worker.idle_ratio * 100.0));
            table.row(row);
        }
        table.write(out)?;
        out.line("")?;
        let mut table = Table::new(&[
            "PORT",
            "LINK",
            ">RX PPS",
            ">RX BPS",
            ">FORWARDED",
            ">REPLIED",
            ">PUNTED",
            ">DROPPED",
            ">TX PPS",
            ">TX BPS",
            ">UNSENT",
        ]);
        for port in &self.ports {
            let mut row = vec![port.name.clone(), if port.up { "up" } else { "down" }.to_owned()];
            row.extend(fates(&port.fates));
            row.extend([port.sent_pps, port.sent_bps, port.unsent_pps].map(si));
            table.row(row);
        }
        table.write(out)?;
        out.line("")
    }
}

/// `stats`
pub(super) async fn stats(
    client: &mut Client,
    out: &mut Output<'_>,
    watch: Option<f64>,
) -> Result<(), CtlError> {
    let interval_ms = watch.map(|seconds| (seconds * 1000.0) as u32);
    let mut samples = client.calls().stats(v1::StatsRequest { interval_ms }).await?.into_inner();
    let mut before: Option<StatsView> = None;
    while let Some(sample) = samples.message().await? {
        let view: StatsView = Wire::read(sample)?;
        match (watch, &before) {
            (None, _) if out.json() => out.value(&view)?,
            (None, _) => {
                show::workers(&view.workers, out)?;
                out.line("")?;
                show::traffic(&view.ports, out)?;
            }
            (Some(_), None) => {}
            (Some(_), Some(before)) => {
                let rates = Rates::between(before, &view);
                if out.json() {
                    out.compact(&rates)?;
                    out.line("")?;
                } else {
                    rates.write(out)?;
                }
                out.flush()?;
            }
        }
        before = Some(view);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_growth_over_time_and_survive_a_restart() {
        assert_eq!(grown(5, 12), 7.0);
        assert_eq!(grown(12, 3), 3.0);
        assert_eq!(share(1.0, 0.0), 0.0);
        let fates = |received| FateView { received, received_bytes: received * 100, ..FateView::default() };
        let rates = FateRates::between(&fates(1000), &fates(3000), 2.0);
        assert_eq!((rates.received_pps, rates.received_bps), (1000.0, 800_000.0));
    }
}
