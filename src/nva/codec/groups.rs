//! Groups on the wire.

use super::fields::{MAX_OBJECT_NAME, read_key, write_key};
use crate::config::{Entry, ObjectName};
use crate::nva::malformed::{MAX_NAME, Malformed, malformed};
use crate::nva::message::{GroupPart, GroupTold, GroupsPart};
use crate::nva::model::Key;
use crate::nva::v1;
use std::sync::Arc;

pub(super) fn read_part(
    v1::Groups { whole, last, groups, over }: v1::Groups,
) -> Result<GroupsPart, Malformed> {
    // What a later release has otherwise is not for this one.
    let groups = groups.into_iter().filter_map(|one| read_group(one).transpose());
    Ok(GroupsPart { whole, last, groups: groups.collect::<Result<_, _>>()?, over })
}

fn read_group(one: v1::Group) -> Result<Option<GroupTold>, Malformed> {
    let part = match v1::GroupPart::try_from(one.part).unwrap_or_default() {
        v1::GroupPart::Unspecified => return Ok(None),
        v1::GroupPart::Active => GroupPart::Active,
        v1::GroupPart::Standby => GroupPart::Standby,
    };
    for (name, most) in [(&one.attachment, MAX_OBJECT_NAME), (&one.name, MAX_NAME)] {
        if name.is_empty() || name.len() > most {
            return malformed(format!("Groups: a name of {} bytes; 1 to {most}", name.len()));
        }
    }
    let entry = Entry::named(&ObjectName::Attachment(one.attachment.clone()), &one.document);
    Ok(Some(GroupTold {
        name: one.name,
        sequence: one.sequence,
        part,
        attachment: one.attachment,
        entry: entry.ok().map(Arc::new),
        keys: one.keys.into_iter().map(|key| read_key(Some(key))).collect::<Result<Vec<Key>, _>>()?,
    }))
}

pub(super) fn write_part(GroupsPart { whole, last, groups, over }: GroupsPart) -> v1::Groups {
    v1::Groups { whole, last, groups: groups.into_iter().map(write_group).collect(), over }
}

fn write_group(one: GroupTold) -> v1::Group {
    let part = match one.part {
        GroupPart::Active => v1::GroupPart::Active,
        GroupPart::Standby => v1::GroupPart::Standby,
    };
    v1::Group {
        name: one.name,
        sequence: one.sequence,
        part: part.into(),
        attachment: one.attachment,
        document: one.entry.as_ref().map(|entry| entry.written().to_owned()).unwrap_or_default(),
        keys: one.keys.into_iter().filter_map(write_key).collect(),
    }
}
