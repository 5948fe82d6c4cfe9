//! `ilactl events`: what happened to tenants, so far or as it happens.

use super::client::Client;
use super::error::CtlError;
use super::output::Output;
use crate::api::v1;
use crate::api::views::EventView;
use crate::api::wire::Wire;
use serde::Serialize;

/// Events that came too late to be heard.
#[derive(Debug, Serialize)]
struct Missed {
    missed: u64,
}

/// `events`
pub(super) async fn events(
    client: &mut Client,
    out: &mut Output<'_>,
    follow: bool,
    after: u64,
) -> Result<(), CtlError> {
    let request = v1::EventsRequest { after, follow };
    let mut pages = client.calls().events(request).await?.into_inner();
    while let Some(page) = pages.message().await? {
        if page.missed > 0 && out.json() {
            out.compact(&Missed { missed: page.missed })?;
            out.line("")?;
        } else if page.missed > 0 {
            out.line(&format!("({} older events are no longer kept)", page.missed))?;
        }
        for event in page.events {
            let event: EventView = Wire::read(event)?;
            if out.json() {
                out.compact(&event)?;
                out.line("")?;
            } else {
                out.line(&line(&event))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// An event for people. Lines are written as events come, so that no column can wait for the widest one.
fn line(event: &EventView) -> String {
    let EventView { seq, time_ms, attachment, network, kind, .. } = event;
    let what = match (&event.address, &event.mac, event.packets, event.seconds) {
        (Some(address), Some(mac), ..) => format!("{address} is at {mac}"),
        (Some(address), ..) => format!("{address} is somebody else's"),
        (None, _, Some(packets), _) => format!("{packets} packets"),
        (None, _, _, Some(seconds)) => format!("for {seconds} s"),
        _ => String::new(),
    };
    format!("{seq:>6}  {}  {network}/{attachment}  {kind}  {what}", time(*time_ms))
}

/// Milliseconds since 1970 as UTC (the calendar of days by Howard Hinnant's method).
pub(super) fn time(ms: u64) -> String {
    let (days, day_ms) = (ms / 86_400_000, ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hours, minutes, seconds) = (day_ms / 3_600_000, day_ms / 60_000 % 60, day_ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", day_ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_323_705_120, "2026-11-22T05:01:45.120Z"),
        ] {
            assert_eq!(time(ms), text);
        }
    }
}
