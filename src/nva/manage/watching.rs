//! What happens, in the operator's API.

use super::records::locators;
use crate::api::manage as v1;
use crate::nva::scope::{Scope, Sight};
use crate::nva::watch::{Told, Watcher};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Pages that wait for an operator.
const WAITING: usize = 4;
/// Longest time for which somebody who watches may read nothing while there is something to read.
const STALL: Duration = Duration::from_secs(30);
/// Time between two looks at what somebody who watches may still see.
pub(in crate::nva) const RECHECK: Duration = Duration::from_secs(5);

/// What a watcher is told of what it wants and may see, for as long as it may.
pub(super) fn events(
    mut watcher: Watcher,
    scope: Scope,
    mut sight: Sight,
    now_sees: impl Fn() -> Result<Sight, Status> + Send + 'static,
) -> ReceiverStream<Result<v1::EventPage, Status>> {
    let (sender, pages) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut recheck = tokio::time::interval(RECHECK);
        loop {
            let (events, missed) = tokio::select! {
                next = watcher.next() => next,
                _ = recheck.tick() => match now_sees() {
                    Ok(now) => {
                        sight = now;
                        continue;
                    }
                    Err(why) => {
                        let _ = tokio::time::timeout(STALL, sender.send(Err(why))).await;
                        return;
                    }
                },
                () = sender.closed() => return,
            };
            let taken = events.iter().filter(|told| scope.takes(&sight, told));
            let events: Vec<_> = taken.map(|told| write(told)).collect();
            let is_some = missed > 0 || !events.is_empty();
            if !is_some {
                continue;
            }
            // Who reads nothing for so long makes room for others.
            let sent = tokio::time::timeout(STALL, sender.send(Ok(v1::EventPage { events, missed }))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    ReceiverStream::new(pages)
}

/// An event as operators see it.
pub(in crate::nva) fn write(told: &Told) -> v1::Event {
    let Told { number, time_ms, who, from, event } = told;
    let text = |it: Option<String>| it.unwrap_or_default();
    v1::Event {
        number: *number,
        time_ms: *time_ms,
        kind: event.kind.label().to_owned(),
        who: who.clone(),
        from: from.to_string(),
        nve: text(event.nve.as_deref().map(str::to_owned)),
        sir: text(event.key.map(|key| key.to_string())),
        locators: locators(&event.choices),
        object: text(event.object.as_ref().map(ToString::to_string)),
        networks: event.networks.clone(),
        vnid: told.vnid().unwrap_or(0),
        sequence: event.sequence,
        revision: event.revision,
        count: event.count,
        why: event.why.clone(),
    }
}
