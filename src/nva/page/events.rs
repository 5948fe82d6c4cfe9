//! What happens, as a browser's EventSource reads it.

use crate::nva::manage::watching::{RECHECK, write};
use crate::nva::scope::{Scope, Sight};
use crate::nva::watch::Watcher;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

/// Events that a page is given at first.
pub(super) const RECENT: u64 = 500;
/// Messages that wait for a browser.
const WAITING: usize = 4;
/// Time between two signs of life.
const ALIVE: Duration = Duration::from_secs(15);
/// A browser that reads nothing for so long is cut off.
const STALL: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Message {
    events: Vec<crate::api::manage::Event>,
    missed: u64,
}

/// What a browser is told of what it may see, for as long as it may. `cut` ends the connection of one that does not read.
pub(super) fn stream(
    mut watcher: Watcher,
    mut sight: Sight,
    now_sees: impl Fn() -> Option<Sight> + Send + 'static,
    cut: Arc<Notify>,
    place: OwnedSemaphorePermit,
) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _place = place;
        let (mut recheck, mut alive) = (tokio::time::interval(RECHECK), tokio::time::interval(ALIVE));
        let scope = Scope::default();
        // A browser that lost its stream comes back after 2 s.
        let mut line = "retry: 2000\n\n".to_owned();
        loop {
            match tokio::time::timeout(STALL, sender.send(line)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => return cut.notify_one(),
            }
            line = loop {
                tokio::select! {
                    (events, missed) = watcher.next() => {
                        let number = events.last().map(|told| told.number);
                        let taken = events.iter().filter(|told| scope.takes(&sight, told));
                        let events: Vec<_> = taken.map(|told| write(told)).collect();
                        if missed > 0 || !events.is_empty() {
                            break message(number, &Message { events, missed });
                        }
                    }
                    _ = recheck.tick() => match now_sees() {
                        Some(now) => sight = now,
                        None => return,
                    },
                    _ = alive.tick() => break ":\n\n".to_owned(),
                    () = sender.closed() => return,
                }
            };
        }
    });
    lines
}

/// A message, and the number after which a browser goes on that lost its stream.
fn message(number: Option<u64>, message: &Message) -> String {
    // A value of these fields is always JSON.
    let text = serde_json::to_string(message).unwrap_or_default();
    let id = number.map(|number| format!("id: {number}\n")).unwrap_or_default();
    format!("{id}data: {text}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::manage::Event;

    #[test]
    fn what_somebody_says_stays_within_its_message() {
        let why = "a\n\ndata: b\r\n\u{2028}</script>\u{202e}".to_owned();
        let told = Message { events: vec![Event { why: why.clone(), ..Event::default() }], missed: 3 };
        let text = message(Some(7), &told);
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines[0], lines.len(), text.contains('\r')), ("id: 7", 4, false));
        let read: serde_json::Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            (read["events"][0]["why"].as_str().unwrap(), read["missed"].as_u64()),
            (&why[..], Some(3))
        );
    }
}
