//! `ilactl nva watch`: what happens at an authority, as it happens.

use super::locator::LocatorView;
use crate::api::manage as v1;
use crate::api::manage::manage_client::ManageClient;
use crate::ctl::error::CtlError;
use crate::ctl::events::time;
use crate::ctl::output::Output;
use serde::Serialize;
use tonic::transport::Channel;

/// Events that came too late to be heard.
#[derive(Serialize)]
struct Missed {
    missed: u64,
}

#[derive(Serialize)]
struct EventView {
    number: u64,
    time_ms: u64,
    kind: String,
    who: String,
    from: String,
    nve: String,
    sir: String,
    locators: Vec<LocatorView>,
    object: String,
    networks: Vec<String>,
    vnid: u32,
    sequence: u64,
    revision: u64,
    count: u64,
    why: String,
}

/// Shows events until the authority ends, or whoever reads.
pub(super) async fn watch(
    client: &mut ManageClient<Channel>,
    out: &mut Output<'_>,
    request: v1::WatchRequest,
) -> Result<(), CtlError> {
    let mut pages = client.watch(request).await?.into_inner();
    while let Some(v1::EventPage { events, missed }) = pages.message().await? {
        if missed > 0 && out.json() {
            out.compact(&Missed { missed })?;
            out.line("")?;
        } else if missed > 0 {
            out.line(&format!("({missed} events were missed)"))?;
        }
        for event in events {
            if out.json() {
                out.compact(&view(event))?;
                out.line("")?;
            } else {
                out.line(&line(&event))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn view(event: v1::Event) -> EventView {
    let v1::Event { number, time_ms, kind, who, from, nve, sir, object, networks, .. } = event;
    let v1::Event { locators, vnid, sequence, revision, count, why, .. } = event;
    let locators = locators.into_iter().map(super::locator).collect();
    EventView {
        number,
        time_ms,
        kind,
        who,
        from,
        nve,
        sir,
        locators,
        object,
        networks,
        vnid,
        sequence,
        revision,
        count,
        why,
    }
}

/// An event for people. Lines are written as events come, so that no column can wait for the widest one.
fn line(event: &v1::Event) -> String {
    let mut line = format!("{}  {}", time(event.time_ms), event.kind);
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            line.push_str(&format!("  {name}{}", value.escape_debug()));
        }
    };
    let locators: Vec<&str> = event.locators.iter().map(|at| at.prefix.as_str()).collect();
    add("", &event.nve);
    add("", &event.sir);
    add("at ", &locators.join(" "));
    add("", &event.object);
    add("in ", &event.networks.join(" "));
    add("", &if event.count > 0 { format!("{} of them", event.count) } else { String::new() });
    add("", &event.why);
    if event.who != event.nve || event.from.is_empty() {
        add("by ", &event.who);
    }
    add("from ", &event.from);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_known_and_no_control_character() {
        let event = v1::Event {
            time_ms: 1_795_323_705_120,
            kind: "refused".to_owned(),
            who: "nve1".to_owned(),
            from: "192.0.2.1:7".to_owned(),
            nve: "nve1".to_owned(),
            sir: "2001:db8::1".to_owned(),
            why: "not\u{1b}[2J yours".to_owned(),
            ..v1::Event::default()
        };
        let shown =
            "2026-11-22T05:01:45.120Z  refused  nve1  2001:db8::1  not\\u{1b}[2J yours  from 192.0.2.1:7";
        assert_eq!(line(&event), shown);
        let by = v1::Event { who: "alice".to_owned(), count: 3, ..event };
        assert!(line(&by).ends_with("3 of them  not\\u{1b}[2J yours  by alice  from 192.0.2.1:7"));
    }
}
