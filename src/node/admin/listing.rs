//! The list of mappings: what it is filtered by, and its pages.

use super::control::Control;
use super::judge::MAX_NAME_BYTES;
use crate::api::v1;
use crate::api::wire::Wire;
use crate::config::Config;
use crate::config::mappings::Rules;
use crate::mapping::Origin;
use crate::node::handle::{MappingFilter, Request};
use std::net::Ipv6Addr;
use tokio::sync::mpsc;
use tonic::Status;

/// Mappings that the control thread is asked for at once: it goes through all of them each time.
const PAGE: u64 = 50_000;
/// Mappings of one message.
const MESSAGE: usize = 2000;

/// Judges what a list is filtered by.
pub(super) fn filter(request: v1::MappingListRequest, config: &Config) -> Result<MappingFilter, Status> {
    let v1::MappingListRequest { domain, locator, origin, limit } = request;
    let names = |list: Vec<&str>| list.join(", ");
    let quoted = |text: &str| text.chars().take(MAX_NAME_BYTES).collect::<String>();
    if let Some(domain) = &domain
        && !config.sir_domains.iter().any(|known| known.name == *domain)
    {
        let known = names(config.sir_domains.iter().map(|domain| domain.name.as_str()).collect());
        let domain = quoted(domain);
        return Err(Status::invalid_argument(format!("`{domain}` is no SIR domain; choose one of {known}")));
    }
    if let Some(origin) = &origin
        && Origin::named(origin).is_none()
    {
        let (origin, known) = (quoted(origin), names(Origin::ALL.map(Origin::name).to_vec()));
        return Err(Status::invalid_argument(format!("`{origin}` is no origin; choose one of {known}")));
    }
    let locator = match locator {
        Some(text) => Some(Rules::of(config).locator(&text).map_err(Status::invalid_argument)?.to_string()),
        None => None,
    };
    Ok(MappingFilter { domain, locator, origin, after: None, limit })
}

/// Sends pages until the list or the limit ends, or the caller hangs up.
pub(super) async fn send_pages(
    control: &Control,
    filter: MappingFilter,
    pages: &mpsc::Sender<Result<v1::MappingPage, Status>>,
) -> Result<(), Status> {
    let mut left = if filter.limit == 0 { u64::MAX } else { filter.limit };
    let mut after: Option<Ipv6Addr> = None;
    while left > 0 {
        let limit = left.min(PAGE);
        let filter = MappingFilter { after, limit, ..filter.clone() };
        let page = control.ask(|answer| Request::MappingList(filter, answer)).await?;
        let page = page.map_err(Status::invalid_argument)?;
        let count = page.len() as u64;
        let (first, last) = (page.first().map(|view| view.sir), page.last().map(|view| view.sir));
        if after.is_some() && first.is_some() && first <= after {
            return Err(Status::internal("the list of mappings is out of order; report this"));
        }
        let mut page = page.into_iter();
        while page.len() > 0 {
            let mappings = page.by_ref().take(MESSAGE).map(Wire::message).collect();
            if pages.send(Ok(v1::MappingPage { mappings })).await.is_err() {
                return Ok(());
            }
        }
        if count < limit {
            return Ok(());
        }
        left = left.saturating_sub(count);
        after = last;
    }
    Ok(())
}
