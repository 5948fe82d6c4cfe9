//! Rules of policies: who may send to whom.

use super::super::model::Policy;
use super::super::raw::RawConfig;
use super::entries;
use super::networks::Networks;
use super::scope::{Check, Seen};

/// Most policies of a node.
const MAX_POLICIES: usize = 65536;

pub(super) fn policies(check: &mut Check, raw: &RawConfig, networks: &Networks) -> Vec<Policy> {
    let mut list = Vec::new();
    let mut seen = Seen::new();
    for (n, entry) in entries(&raw.policies) {
        let mut s = check.scope(format!("policies[{n}]"), entry.referenced);
        if n == MAX_POLICIES {
            s.error_here("", format!("more than {MAX_POLICIES} policies; a node has at most {MAX_POLICIES}"));
            break;
        }
        let from = s.required("from", &entry.value.from, "red");
        let to = s.required("to", &entry.value.to, "blue");
        let from_place = from.and_then(|text| networks.named(&mut s, "from", text));
        let to_place = to.and_then(|text| networks.named(&mut s, "to", text));
        let (Some(to), Some(from_place), Some(to_place)) = (to, from_place, to_place) else { continue };
        if from_place == to_place {
            let message = format!("`{}` is from as well; within a network no policy is needed", to.value);
            s.error("to", to.referenced, message);
            continue;
        }
        let policy = Policy { from: from_place, to: to_place };
        if let Some(before) = seen.before((from_place, to_place), &s.key(""), entry.referenced) {
            s.error_here("", format!("the same as {before}; remove one of the two"));
            continue;
        }
        list.push(policy);
    }
    list
}
