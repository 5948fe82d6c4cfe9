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
pub(super) const ALIVE: Duration = Duration::from_secs(15);
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
    (cut, alive): (Arc<Notify>, Duration),
    place: OwnedSemaphorePermit,
) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _place = place;
        let (mut recheck, mut alive) = (tokio::time::interval(RECHECK), tokio::time::interval(alive));
        let scope = Scope::default();
        // The last event that was looked at, if the browser was not told its number: it goes on there.
        let mut passed = None;
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
                            passed = None;
                            break message(number, &Message { events, missed });
                        }
                        passed = number.or(passed);
                    }
                    _ = recheck.tick() => match now_sees() {
                        Some(now) => sight = now,
                        None => return,
                    },
                    _ = alive.tick() => break sign_of_life(passed.take()),
                    () = sender.closed() => return,
                }
            };
        }
    });
    lines
}

/// A sign of life, and the number after which a browser goes on, if it may not see what came since its last message.
fn sign_of_life(passed: Option<u64>) -> String {
    passed.map_or_else(|| ":\n\n".to_owned(), |number| format!("id: {number}\n\n"))
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

    #[tokio::test]
    async fn a_browser_that_may_not_see_what_happens_goes_on_behind_it_all_the_same() {
        use crate::nva::event::{By, Event as Happened, Kind};
        use crate::nva::watch::Hub;
        let hub = Hub::new();
        let watcher = hub.watch("red-watch", None).unwrap();
        let sight = || Sight { networks: Some(Arc::new(["red".to_owned()].into())) };
        let place = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut lines = stream(
            watcher,
            sight(),
            move || Some(sight()),
            (Arc::default(), Duration::from_millis(50)),
            place,
        );
        assert_eq!(lines.recv().await.unwrap(), "retry: 2000\n\n");
        assert_eq!(lines.recv().await.unwrap(), ":\n\n");
        for _ in 0..3 {
            hub.tell(String::new(), "".into(), Happened::new(Kind::Registered, By::Authority));
        }
        let said = loop {
            let said = lines.recv().await.unwrap();
            if said != ":\n\n" {
                break said;
            }
        };
        let number: u64 = said.strip_prefix("id: ").unwrap().trim().parse().unwrap();
        assert_eq!(number % 1_000, 3, "{said}");
        // That is said once.
        assert_eq!(lines.recv().await.unwrap(), ":\n\n");
    }

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
