//! Calls that answer as things happen: events of tenants, samples of counters.

use super::control::Control;
use crate::api::v1;
use crate::api::wire::Wire;
use crate::node::source::{Event, Feed, Heard};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tonic::Status;

/// Sends the events of `feed`: those that are there and, if the caller follows, those that come, until it
/// hangs up.
pub(super) async fn events(mut feed: Feed, follow: bool, pages: Sender<Result<v1::EventPage, Status>>) {
    loop {
        let heard = feed.heard();
        if !heard.events.is_empty() {
            if pages.send(Ok(page(heard))).await.is_err() {
                return;
            }
            continue;
        }
        if !follow {
            return;
        }
        tokio::select! {
            () = feed.ready() => {}
            () = pages.closed() => return,
        }
    }
}

fn page(heard: Heard) -> v1::EventPage {
    let Heard { missed, events } = heard;
    v1::EventPage { missed, events: events.iter().map(|event: &Event| event.view().message()).collect() }
}

/// Sends one sample, or one at every interval until the caller hangs up or the node fails to answer.
pub(super) async fn stats(
    control: Control,
    interval_ms: Option<u32>,
    samples: Sender<Result<v1::StatsSample, Status>>,
) {
    let Some(interval_ms) = interval_ms else {
        // A caller that has hung up needs no answer.
        let _ = samples.send(control.sample().await).await;
        return;
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms.into()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = samples.closed() => return,
        }
        let sample = control.sample().await;
        let failed = sample.is_err();
        if samples.send(sample).await.is_err() || failed {
            return;
        }
    }
}
