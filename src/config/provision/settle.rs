//! Finds out which entries of an authority break a rule, and leaves those out.

use super::super::check::{Appended, Blamed};
use super::super::error::{ConfigError, ConfigErrors};
use super::super::model::Provisioned;
use super::super::raw::{List, RawConfig};
use super::entry::{Entry, ObjectName, Raw};
use serde_saphyr::{Location, Spanned};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Broken rules of one entry that are told.
const TOLD: usize = 3;

/// An entry that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEntry {
    /// Which.
    pub name: ObjectName,
    /// The rules that it breaks, and the way out.
    pub why: String,
}

/// The file with entries behind its own, what to call them in errors, and where they are.
pub(crate) fn append(
    file: &RawConfig,
    entries: &[&Entry],
) -> (RawConfig, HashMap<&'static str, Appended>, Provisioned) {
    let mut raw = file.clone();
    let mut appended: HashMap<&'static str, Appended> = HashMap::new();
    for section in ["virtual_networks", "policies", "attachments"] {
        appended.entry(section).or_default();
    }
    let ranges = Provisioned {
        networks: behind(&raw.virtual_networks, entries, "virtual_networks"),
        policies: behind(&raw.policies, entries, "policies"),
        attachments: behind(&raw.attachments, entries, "attachments"),
    };
    let from = [&ranges.networks, &ranges.policies, &ranges.attachments].map(|range| range.start);
    for (section, from) in ["virtual_networks", "policies", "attachments"].into_iter().zip(from) {
        appended.entry(section).or_default().from = from;
    }
    for (n, entry) in entries.iter().enumerate() {
        match &entry.raw {
            Raw::Network(network) => push(&mut raw.virtual_networks, network),
            Raw::Policy(policy) => push(&mut raw.policies, policy),
            Raw::Attachment(attachment) => push(&mut raw.attachments, attachment),
        }
        let name = entry.name();
        appended.entry(name.section()).or_default().entries.push((n, name.within()));
    }
    (raw, appended, ranges)
}

fn behind<T>(list: &List<T>, entries: &[&Entry], section: &str) -> Range<usize> {
    let from = list.as_ref().map_or(0, |list| list.value.len());
    from..from + entries.iter().filter(|entry| entry.name().section() == section).count()
}

fn push<T: Clone>(list: &mut List<T>, entry: &Spanned<T>) {
    let empty = || Spanned::new(Vec::new(), Location::UNKNOWN, Location::UNKNOWN);
    list.get_or_insert_with(empty).value.push(entry.clone());
}

/// Judges entries together, and leaves out those that break a rule until the others break none. Those later in the list
/// are left out for the earlier ones, and what refers to a network that is left out is left out with it.
///
/// # Errors
/// What is wrong without any entry.
pub(crate) fn settle<T>(
    entries: &[&Entry],
    judge: impl Fn(&[&Entry]) -> Result<T, Vec<Blamed>>,
) -> Result<(T, Vec<RefusedEntry>), ConfigErrors> {
    let mut kept = entries.to_vec();
    let mut refused = Vec::new();
    loop {
        let errors = match judge(&kept) {
            Ok(judged) => return Ok((judged, refused)),
            Err(errors) => errors,
        };
        let mut wrong: HashMap<usize, Vec<ConfigError>> = HashMap::new();
        for (object, error) in &errors {
            if let Some(n) = object {
                wrong.entry(*n).or_default().push(error.clone());
            }
        }
        if wrong.is_empty() {
            let Some(n) = culprit(&kept, &judge) else {
                ConfigErrors::check(errors.into_iter().map(|(_, error)| error).collect())?;
                // No error and no result: that cannot be.
                continue;
            };
            wrong.insert(n, errors.into_iter().map(|(_, error)| error).collect());
        }
        let out: HashSet<String> = wrong.keys().filter_map(|n| network_name(kept.get(*n)?)).collect();
        let mut rest = Vec::new();
        for (n, entry) in kept.into_iter().enumerate() {
            let gone = entry.networks().into_iter().find(|name| out.contains(*name)).map(str::to_owned);
            let why = match (gone, wrong.remove(&n)) {
                (Some(gone), _) => format!("it refers to network {gone}, which is refused"),
                (None, Some(errors)) => in_words(&errors),
                (None, None) => {
                    rest.push(entry);
                    continue;
                }
            };
            refused.push(RefusedEntry { name: entry.name().clone(), why });
        }
        kept = rest;
    }
}

fn network_name(entry: &&Entry) -> Option<String> {
    match entry.name() {
        ObjectName::Network(name) => Some(name.clone()),
        ObjectName::Policy { .. } | ObjectName::Attachment(_) => None,
    }
}

/// The first entry with which those before it break a rule of the file; `None` if the file breaks one by itself.
fn culprit<T>(kept: &[&Entry], judge: &impl Fn(&[&Entry]) -> Result<T, Vec<Blamed>>) -> Option<usize> {
    let is_right = |count: usize| judge(&kept[..count]).is_ok();
    if !is_right(0) {
        return None;
    }
    // Right with so many, and wrong with so many.
    let (mut right, mut wrong) = (0, kept.len());
    while right + 1 < wrong {
        let middle = right.midpoint(wrong);
        match is_right(middle) {
            true => right = middle,
            false => wrong = middle,
        }
    }
    Some(right)
}

fn in_words(errors: &[ConfigError]) -> String {
    let told = errors.iter().take(TOLD).map(|error| match error.path.is_empty() {
        true => error.message.clone(),
        false => format!("{}: {}", error.path, error.message),
    });
    let mut words = told.collect::<Vec<_>>().join("; ");
    if errors.len() > TOLD {
        words.push_str(&format!("; and {} more", errors.len() - TOLD));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{self, Check, Domains, Locators, Ports, ROUTER_MAC};
    use super::super::super::model::{OnMiss, SirDomain};
    use super::*;
    use crate::ila::{ChecksumMode, SirPrefix};
    use std::cell::Cell;

    /// Settles entries, and says how many rounds it took and how many entries were left out.
    fn settled(entries: &[Entry]) -> (u32, Vec<RefusedEntry>) {
        let domain = SirDomain {
            name: "tasks".into(),
            prefix: SirPrefix(0x2001_0db8_dddd_0000),
            checksum: ChecksumMode::default(),
            on_miss: OnMiss::Drop,
            skip_unchecked: false,
            expected_mappings: 1,
            router_mac: ROUTER_MAC,
            vni: None,
        };
        let rounds = Cell::new(0);
        let judged = settle(&entries.iter().collect::<Vec<_>>(), |entries| {
            rounds.set(rounds.get() + 1);
            let (raw, appended, _) = append(&RawConfig::default(), entries);
            let mut check = Check::with("", appended);
            let domains = Domains { list: vec![domain.clone()], complete: true };
            let locators = Locators { list: Vec::new(), complete: true };
            check::tenancy(&mut check, &raw, domains, locators, Ports::named_only(["a".to_owned()]));
            let errors = check.errors();
            if errors.is_empty() { Ok(()) } else { Err(errors) }
        });
        (rounds.get(), judged.unwrap().1)
    }

    fn network(n: usize, vnid: usize, more: &str) -> Entry {
        Entry::network(&format!("{{name: n{n}, vnid: {vnid}, domain: tasks{more}}}")).unwrap()
    }

    #[test]
    fn however_many_are_beyond_a_limit_they_are_left_out_in_one_round() {
        let networks: Vec<Entry> = (1..=4_096 + 1_500).map(|n| network(n, n, "")).collect();
        let (rounds, refused) = settled(&networks);
        assert_eq!((rounds, refused.len()), (2, 1_500));
        assert_eq!(refused[0].name, *networks[4_096].name());
        assert!(refused[1_499].why.contains("more than 4096 networks"), "{}", refused[1_499].why);
    }

    #[test]
    fn what_is_wrong_itself_takes_no_place_of_another_one() {
        // The first hundred have a VNID that none has.
        let entries: Vec<Entry> =
            (1..=4_096 + 150).map(|n| network(n, if n <= 100 { 0 } else { n }, "")).collect();
        let (rounds, refused) = settled(&entries);
        assert_eq!((rounds, refused.len()), (3, 150));
    }
}
