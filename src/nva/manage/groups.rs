//! Groups for hot failover in the operator's API.

use crate::api::manage::{self as v1, group_write_request::What};
use crate::nva::authority::Authority;
use crate::nva::failover::{Braked, Group, GroupKind, GroupRequest, GroupWish, Member, MemberRequest};
use crate::nva::mobility::Moment;
use crate::nva::scope::Sight;
use tonic::Status;

/// Longest name of a group, an NVE, an attachment or a port in bytes.
const MAX_NAME: usize = 64;
const MAX_VLAN: u32 = 4_094;
const MAX_WEIGHT: u32 = 1_000;

/// Reads what an operator wants of groups.
pub(super) fn read(request: v1::GroupWriteRequest) -> Result<GroupWish, Status> {
    let v1::GroupWriteRequest { name, what } = request;
    let is_good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_good) {
        return wrong(format!(
            "name: {} bytes; write 1 to {MAX_NAME} of a-z, A-Z, 0-9, -, _ and .",
            name.len()
        ));
    }
    Ok(match what {
        None => return wrong("nothing wanted; write declare, delete or return".to_owned()),
        Some(What::Delete(v1::GroupDelete {})) => GroupWish::Delete(name),
        Some(What::Return(v1::GroupReturn { nve })) => {
            let nve = (!nve.is_empty()).then(|| named("nve", nve)).transpose()?;
            GroupWish::Return(name, nve)
        }
        Some(What::Declare(v1::GroupDeclare { attachment, kind, members })) => {
            let Some(kind) = GroupKind::of_word(&kind) else {
                return wrong("kind: write primary or shared".to_owned());
            };
            let attachment = named("attachment", attachment)?;
            let members = members.into_iter().map(member).collect::<Result<_, _>>()?;
            GroupWish::Add(GroupRequest { name, attachment, kind, members })
        }
    })
}

fn member(wanted: v1::GroupMemberWanted) -> Result<MemberRequest, Status> {
    let v1::GroupMemberWanted { nve, port, vlan, weight } = wanted;
    let vlan = match vlan {
        Some(vlan) if !(1..=MAX_VLAN).contains(&vlan) => {
            return wrong(format!("vlan: {vlan}; write 1 to {MAX_VLAN}, or leave it out"));
        }
        vlan => vlan.map(|vlan| vlan as u16),
    };
    if weight > MAX_WEIGHT {
        return wrong(format!("weight: {weight}; write 1 to {MAX_WEIGHT}, or leave it out"));
    }
    let port = (!port.is_empty()).then(|| named("port", port)).transpose()?;
    if port.is_none() && vlan.is_some() {
        return wrong("vlan: there is none without a port; name the port, too".to_owned());
    }
    Ok(MemberRequest { nve: named("nve", nve)?, port, vlan, weight: weight.max(1) as u16 })
}

fn named(what: &str, name: String) -> Result<String, Status> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        true => Ok(name),
        false => wrong(format!("{what}: a name of {} bytes; write 1 to {MAX_NAME}", name.len())),
    }
}

/// The groups that are asked for and may be seen, and the brake.
pub(super) fn list(
    authority: &Authority,
    request: &v1::GroupListRequest,
    sight: &Sight,
) -> v1::GroupListResponse {
    let v1::GroupListRequest { name, nve } = request;
    let is_it = |group: &&Group| {
        (name.is_empty() || *name == group.name)
            && (nve.is_empty() || group.member(nve).is_some())
            && (sight.is_all() || group.networks.iter().any(|network| sight.of_network(network)))
    };
    let groups = authority.groups().iter().filter(is_it).map(|group| show(authority, group)).collect();
    let (brake, _) = authority.brake();
    // Which NVEs vanished is nothing for those who see some networks only.
    let brake = brake.map(|Braked { since_ms, vanished, limit, .. }| v1::Brake {
        for_s: authority.now_ms().saturating_sub(*since_ms) / 1_000,
        vanished: vanished.iter().filter(|_| sight.is_all()).map(ToString::to_string).collect(),
        limit: u32::try_from(*limit).unwrap_or(u32::MAX),
    });
    v1::GroupListResponse { groups, brake }
}

fn show(authority: &Authority, group: &Group) -> v1::Group {
    let member = |Member { nve, weight, state, .. }: &Member| v1::GroupMember {
        nve: nve.clone(),
        state: state.word().to_owned(),
        weight: (*weight).into(),
        session: authority.has_session(nve),
        refused: authority.refuses(nve, &group.attachment).unwrap_or_default().to_owned(),
    };
    let moment = |Moment { at_ms, what, by, how }: &Moment| v1::MoveMoment {
        time_ms: *at_ms,
        what: what.clone(),
        who: by.clone(),
        how: how.clone(),
    };
    v1::Group {
        name: group.name.clone(),
        attachment: group.attachment.clone(),
        kind: group.kind.word().to_owned(),
        members: group.members.iter().map(member).collect(),
        sirs: group.keys.iter().map(ToString::to_string).collect(),
        networks: group.networks.clone(),
        sequence: group.sequence,
        since_ms: group.since_ms,
        failovers: group.failovers,
        as_declared: group.is_as_declared(),
        timeline: group.timeline.iter().map(moment).collect(),
    }
}

fn wrong<T>(why: String) -> Result<T, Status> {
    Err(Status::invalid_argument(why))
}
