//! `ilactl nva group`: groups of NVEs for hot failover.

use crate::api::manage::manage_client::ManageClient;
use crate::api::manage::{self as v1, group_write_request::What};
use crate::ctl::args::{GroupCommand, GroupKind, GroupMember};
use crate::ctl::client::ask;
use crate::ctl::error::CtlError;
use crate::ctl::events::time;
use crate::ctl::moment::MomentView;
use crate::ctl::output::{Output, Table, duration, or_dash};
use serde::Serialize;
use std::time::Duration;
use tonic::transport::Channel;

#[derive(Serialize)]
struct MemberView {
    nve: String,
    state: String,
    weight: u32,
    session: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    refused: String,
}

#[derive(Serialize)]
struct GroupView {
    name: String,
    attachment: String,
    kind: String,
    members: Vec<MemberView>,
    sirs: Vec<String>,
    networks: Vec<String>,
    sequence: u64,
    since_ms: u64,
    failovers: u64,
    as_declared: bool,
    timeline: Vec<MomentView>,
}

#[derive(Serialize)]
struct BrakeView {
    for_s: u64,
    vanished: Vec<String>,
    limit: u32,
}

#[derive(Serialize)]
struct ListView {
    groups: Vec<GroupView>,
    brake: Option<BrakeView>,
}

#[derive(Serialize)]
struct WrittenView {
    name: String,
    sequence: u64,
    revision: u64,
}

#[derive(Serialize)]
struct ReleasedView {
    nves: u64,
}

pub(super) async fn run(
    client: &mut ManageClient<Channel>,
    out: &mut Output<'_>,
    command: GroupCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    let (name, what, said) = match command {
        GroupCommand::List { nve } => {
            let request = v1::GroupListRequest { nve: nve.unwrap_or_default(), ..Default::default() };
            return list(out, client.group_list(ask(request, timeout)).await?.into_inner());
        }
        GroupCommand::Show { name } => {
            let request = v1::GroupListRequest { name: name.clone(), ..Default::default() };
            let found = client.group_list(ask(request, timeout)).await?.into_inner().groups;
            let Some(group) = found.into_iter().next() else {
                return Err(CtlError::Values(format!(
                    "there is no group {name}; `ilactl nva group list` shows what is"
                )));
            };
            return show(out, view(group));
        }
        GroupCommand::ReleaseBrake => {
            let request = ask(v1::BrakeReleaseRequest {}, timeout);
            let v1::BrakeReleased { nves } = client.brake_release(request).await?.into_inner();
            if out.json() {
                return out.value(&ReleasedView { nves });
            }
            return out.line(&format!("{nves} NVEs count as lost, and groups fail over"));
        }
        GroupCommand::Add { name, attachment, members, kind } => {
            let kind = match kind {
                GroupKind::Primary => "primary",
                GroupKind::Shared => "shared",
            };
            let member = |GroupMember { nve, port, vlan, weight }: GroupMember| v1::GroupMemberWanted {
                nve,
                port,
                vlan: vlan.map(u32::from),
                weight: weight.into(),
            };
            let members = members.into_iter().map(member).collect();
            let declare = v1::GroupDeclare { attachment, kind: kind.to_owned(), members };
            (name, What::Declare(declare), "declared")
        }
        GroupCommand::Delete { name } => (name, What::Delete(v1::GroupDelete {}), "deleted"),
        GroupCommand::Return { name, to } => {
            (name, What::Return(v1::GroupReturn { nve: to.unwrap_or_default() }), "returned")
        }
    };
    let request = v1::GroupWriteRequest { name: name.clone(), what: Some(what) };
    let v1::GroupAnswer { sequence, revision } =
        client.group_write(ask(request, timeout)).await?.into_inner();
    if out.json() {
        return out.value(&WrittenView { name, sequence, revision });
    }
    out.line(&format!("group {name}: {said}, revision {revision}"))
}

fn view(group: v1::Group) -> GroupView {
    let v1::Group { name, attachment, kind, members, sirs, networks, .. } = group;
    let member = |v1::GroupMember { nve, state, weight, session, refused }| MemberView {
        nve,
        state,
        weight,
        session,
        refused,
    };
    GroupView {
        name,
        attachment,
        kind,
        members: members.into_iter().map(member).collect(),
        sirs,
        networks,
        sequence: group.sequence,
        since_ms: group.since_ms,
        failovers: group.failovers,
        as_declared: group.as_declared,
        timeline: group.timeline.into_iter().map(MomentView::of).collect(),
    }
}

fn list(out: &mut Output<'_>, list: v1::GroupListResponse) -> Result<(), CtlError> {
    let brake = list.brake.map(|v1::Brake { for_s, vanished, limit }| BrakeView { for_s, vanished, limit });
    let groups: Vec<GroupView> = list.groups.into_iter().map(view).collect();
    if out.json() {
        return out.value(&ListView { groups, brake });
    }
    if let Some(BrakeView { for_s, vanished, limit }) = &brake {
        let (since, count, names) = (duration(*for_s), vanished.len(), vanished.join(" "));
        out.line(&format!(
            "nobody fails over for {since}: {count} NVEs vanished at once, and {limit} may: {names}"
        ))?;
    }
    let mut table =
        Table::new(&["NAME", "ATTACHMENT", "KIND", "ACTIVE", "STANDBY", "AWAY", "AS DECLARED", ">FAILOVERS"]);
    for group in &groups {
        let of = |is_it: &dyn Fn(&MemberView) -> bool| {
            let names: Vec<&str> =
                group.members.iter().filter(|member| is_it(member)).map(|member| &*member.nve).collect();
            or_dash((!names.is_empty()).then(|| names.join(" ")))
        };
        table.row(vec![
            group.name.clone(),
            group.attachment.clone(),
            group.kind.clone(),
            of(&|member| member.state == "active"),
            of(&|member| member.state == "standby"),
            of(&|member| !member.session),
            if group.as_declared { "yes" } else { "no" }.to_owned(),
            group.failovers.to_string(),
        ]);
    }
    table.write(out)
}

fn show(out: &mut Output<'_>, group: GroupView) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&group);
    }
    out.line(&format!("name        {}", group.name))?;
    out.line(&format!("attachment  {}", group.attachment))?;
    out.line(&format!("kind        {}", group.kind))?;
    out.line(&format!("addresses   {}", group.sirs.join(" ")))?;
    out.line(&format!("failovers   {}", group.failovers))?;
    out.line("")?;
    let mut table = Table::new(&["MEMBER", "STATE", ">WEIGHT", "SESSION", "REFUSES IT"]);
    for MemberView { nve, state, weight, session, refused } in &group.members {
        let session = if *session { "yes" } else { "no" };
        table.row(vec![
            nve.clone(),
            state.clone(),
            weight.to_string(),
            session.to_owned(),
            or_dash((!refused.is_empty()).then(|| refused.clone())),
        ]);
    }
    table.write(out)?;
    out.line("")?;
    let mut table = Table::new(&["TIME", "WHAT", "BY", "HOW"]);
    for moment in &group.timeline {
        let [what, who, how] = moment.columns();
        table.row(vec![time(moment.time_ms), what, who, how]);
    }
    table.write(out)
}
