//! `ilactl mapping …`

use super::args::LocatorArg;
use super::client::Client;
use super::error::CtlError;
use super::output::{List, Output, Table, or_dash};
use crate::api::v1;
use crate::api::views::MappingView;
use crate::api::views::confidence::CONFIRMED;
use crate::api::wire::Wire;
use crate::mapping::Applied;

/// `mapping add`
pub(super) async fn add(
    client: &mut Client,
    out: &mut Output<'_>,
    sir: String,
    locators: Vec<LocatorArg>,
    blackhole: bool,
) -> Result<(), CtlError> {
    let locators = locators
        .into_iter()
        .map(|LocatorArg { locator, priority, weight }| v1::LocatorChoice { locator, priority, weight })
        .collect();
    let change = v1::MappingChange { sir: sir.clone(), locators, blackhole };
    let applied: Applied = Wire::read(client.upsert(vec![change]).await?)?;
    if out.json() {
        return out.value(&applied);
    }
    let what = match applied {
        Applied { created: 1.., .. } => "created",
        Applied { changed: 1.., .. } => "changed",
        _ => "unchanged",
    };
    out.line(&format!("{sir}: {what}, revision {}", applied.revision))
}

/// `mapping del`
pub(super) async fn del(client: &mut Client, out: &mut Output<'_>, sir: String) -> Result<(), CtlError> {
    let request = v1::MappingDeleteRequest { sirs: vec![sir.clone()] };
    let applied: Applied = Wire::read(client.calls().mapping_delete(request).await?.into_inner())?;
    if out.json() {
        return out.value(&applied);
    }
    let what = match applied {
        Applied { deleted: 0, .. } => "deleted, what it covered is in force again",
        _ => "deleted",
    };
    out.line(&format!("{sir}: {what}, revision {}", applied.revision))
}

/// `mapping confirm`
pub(super) async fn confirm(
    client: &mut Client,
    out: &mut Output<'_>,
    deletions: u64,
) -> Result<(), CtlError> {
    let request = v1::MappingConfirmRequest { deletions };
    let applied: Applied = Wire::read(client.calls().mapping_confirm(request).await?.into_inner())?;
    if out.json() {
        return out.value(&applied);
    }
    let Applied { revision, created, changed, deleted } = applied;
    out.line(&format!("{created} created, {changed} changed, {deleted} deleted, revision {revision}"))
}

/// `mapping get`
pub(super) async fn get(client: &mut Client, out: &mut Output<'_>, sir: String) -> Result<(), CtlError> {
    let answer = client.calls().mapping_get(v1::MappingGetRequest { sir }).await?.into_inner();
    let view: MappingView = Wire::read(answer)?;
    if out.json() {
        return out.value(&view);
    }
    out.line(&format!("sir         {}", view.sir))?;
    out.line(&format!("domain      {}", view.domain))?;
    out.line(&format!("identifier  {}", view.identifier))?;
    out.line(&format!("kind        {}", view.kind))?;
    out.line(&format!("confidence  {}", view.confidence))?;
    out.line(&format!("origin      {}", view.origin))?;
    if !view.covers.is_empty() {
        out.line(&format!("covers      {}", view.covers.join(", ")))?;
    }
    if let Some(attachment) = &view.attachment {
        out.line(&format!("attachment  {attachment}"))?;
    }
    if view.locators.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table = Table::new(&["LOCATOR", ">PRIORITY", ">WEIGHT", "ILA", "STATE"]);
    for choice in view.locators {
        table.row(vec![
            choice.locator,
            choice.priority.to_string(),
            choice.weight.to_string(),
            choice.ila.to_string(),
            choice.state,
        ]);
    }
    table.write(out)
}

/// `mapping list`
pub(super) async fn list(
    client: &mut Client,
    out: &mut Output<'_>,
    domain: Option<String>,
    locator: Option<String>,
    origin: Option<String>,
    limit: Option<u64>,
) -> Result<(), CtlError> {
    let request = v1::MappingListRequest { domain, locator, origin, limit: limit.unwrap_or(0) };
    let mut pages = client.calls().mapping_list(request).await?.into_inner();
    let mut list = List::new(&["SIR", "DOMAIN", "ORIGIN", "TARGET", "STATE"]);
    while let Some(page) = pages.message().await? {
        let views = page.mappings.into_iter().map(|mapping| Ok(MappingView::read(mapping)?));
        list.page(out, views, row)?;
    }
    list.end(out)
}

/// One line of a list: the preferred locators of each mapping first, with what is not the default.
fn row(view: MappingView) -> Vec<String> {
    let (target, state) = match view.kind.as_str() {
        "local" => (format!("attachment {}", or_dash(view.attachment)), "local".to_owned()),
        "locators" | "group" => {
            let plain = view.locators.iter().all(|choice| choice.priority == 0 && choice.weight == 1);
            let target: Vec<String> = view
                .locators
                .iter()
                .map(|choice| match plain {
                    true => choice.locator.clone(),
                    false => {
                        format!("{},priority={},weight={}", choice.locator, choice.priority, choice.weight)
                    }
                })
                .collect();
            let mut states: Vec<&str> = view.locators.iter().map(|choice| choice.state.as_str()).collect();
            states.dedup();
            (target.join(" "), states.join(" "))
        }
        _ => (view.kind, "-".to_owned()),
    };
    let origin = match (view.origin.as_str(), view.confidence) {
        // Only less than that is news.
        ("nva" | "cache", confidence @ 0..CONFIRMED) => format!("{} (confidence {confidence})", view.origin),
        _ => view.origin,
    };
    vec![view.sir.to_string(), view.domain, origin, target, state]
}
