//! The form in which stores write groups: JSON, with the number of the form.

use super::bytes::{read_key, write_key};
use crate::nva::failover::{Group, GroupKind, Member, MemberState};
use crate::nva::mobility::Moment;
use serde::{Deserialize, Serialize};

/// The form; another release may write another one.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    form: u32,
    attachment: String,
    kind: String,
    members: Vec<WrittenMember>,
    networks: Vec<String>,
    keys: Vec<String>,
    sequence: u64,
    since_ms: u64,
    failovers: u64,
    timeline: Vec<(u64, String, String, String)>,
}

#[derive(Serialize, Deserialize)]
struct WrittenMember {
    nve: String,
    document: String,
    weight: u16,
    state: String,
}

/// Writes a group. Its name is its key.
pub(super) fn write_group(group: &Group) -> Vec<u8> {
    let moment = |Moment { at_ms, what, by, how }: &Moment| (*at_ms, what.clone(), by.clone(), how.clone());
    let member = |Member { nve, document, weight, state }: &Member| WrittenMember {
        nve: nve.clone(),
        document: document.clone(),
        weight: *weight,
        state: state.word().to_owned(),
    };
    let written = Written {
        form: FORM,
        attachment: group.attachment.clone(),
        kind: group.kind.word().to_owned(),
        members: group.members.iter().map(member).collect(),
        networks: group.networks.clone(),
        keys: group.keys.iter().map(|key| format!("{:032x}", u128::from_be_bytes(write_key(*key)))).collect(),
        sequence: group.sequence,
        since_ms: group.since_ms,
        failovers: group.failovers,
        timeline: group.timeline.iter().map(moment).collect(),
    };
    // Text and numbers can always be written.
    serde_json::to_vec(&written).unwrap_or_default()
}

/// What [`write_group`] wrote; `None` for anything else.
pub(super) fn read_group(name: &str, bytes: &[u8]) -> Option<Group> {
    let written: Written = serde_json::from_slice(bytes).ok()?;
    if written.form != FORM {
        return None;
    }
    let key = |hex: &String| {
        let bits = (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok())?;
        bits.map(|bits| read_key(bits.to_be_bytes()))
    };
    let member = |WrittenMember { nve, document, weight, state }| {
        Some(Member { nve, document, weight, state: MemberState::of_word(&state)? })
    };
    let moment = |(at_ms, what, by, how)| Moment { at_ms, what, by, how };
    Some(Group {
        name: name.to_owned(),
        attachment: written.attachment,
        kind: GroupKind::of_word(&written.kind)?,
        members: written.members.into_iter().map(member).collect::<Option<_>>()?,
        networks: written.networks,
        keys: written.keys.iter().map(key).collect::<Option<_>>()?,
        sequence: written.sequence,
        since_ms: written.since_ms,
        failovers: written.failovers,
        timeline: written.timeline.into_iter().map(moment).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nva::model::Key;

    #[test]
    fn a_group_there_and_back_and_nothing_that_is_cut_is_read() {
        let member = |nve: &str, state| Member {
            nve: nve.to_owned(),
            document: "{\"port\": \"access0\"}".to_owned(),
            weight: 7,
            state,
        };
        let group = Group {
            name: "db".to_owned(),
            attachment: "vm1".to_owned(),
            kind: GroupKind::Shared,
            members: vec![member("nve1", MemberState::Standby), member("nve2", MemberState::Active)],
            networks: vec!["red".to_owned()],
            keys: vec![Key { sir_prefix: 0x2001_0db8, identifier: u64::MAX }],
            sequence: 9,
            since_ms: 1,
            failovers: 3,
            timeline: vec![Moment {
                at_ms: 5,
                what: "declared".to_owned(),
                by: "alice".to_owned(),
                how: String::new(),
            }],
        };
        let bytes = write_group(&group);
        assert_eq!(read_group("db", &bytes), Some(group));
        assert!((0..bytes.len()).all(|length| read_group("db", &bytes[..length]).is_none()));
        let other = String::from_utf8(bytes).unwrap().replacen("\"form\":1", "\"form\":2", 1);
        assert_eq!(read_group("db", other.as_bytes()), None);
    }
}
