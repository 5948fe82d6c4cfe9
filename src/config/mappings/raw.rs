//! The mapping file as it stands, nothing judged yet; and how one of its locators is read.

use super::super::check::Scope;
use super::super::raw::Text;
use crate::mapping::{LocatorChoice, MAX_WEIGHT};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    /// `None` only if the key is not there.
    #[serde(default, deserialize_with = "present")]
    pub(super) mappings: Option<Vec<Spanned<RawMapping>>>,
}

/// A list that may be left empty.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Spanned<RawMapping>>>, D::Error> {
    Option::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMapping {
    pub(super) sir: Option<Text>,
    pub(super) network: Option<Text>,
    pub(super) address: Option<Text>,
    pub(super) locators: Option<Spanned<Vec<Spanned<RawChoice>>>>,
    pub(super) blackhole: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWeighted {
    pub(super) locator: Option<Text>,
    pub(super) priority: Option<Text>,
    pub(super) weight: Option<Text>,
}

/// A locator alone, or with priority and weight.
pub(super) enum RawChoice {
    Alone(String),
    Weighted(Box<RawWeighted>),
}

impl<'de> Deserialize<'de> for RawChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = RawChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a locator, or a mapping of locator, priority and weight")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawChoice, E> {
                Ok(RawChoice::Alone(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawChoice, A::Error> {
                RawWeighted::deserialize(MapAccessDeserializer::new(map))
                    .map(|raw| RawChoice::Weighted(Box::new(raw)))
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

/// One locator, and the key that it stands at.
pub(super) fn choice(s: &mut Scope<'_>, entry: &Spanned<RawChoice>) -> Option<(LocatorChoice, &'static str)> {
    match &entry.value {
        RawChoice::Alone(text) => {
            let text = Spanned::new(text.clone(), entry.referenced, entry.defined);
            let locator = s.parse("", &text)?;
            Some((LocatorChoice { locator, priority: 0, weight: 1 }, ""))
        }
        RawChoice::Weighted(raw) => {
            let priority = s.number("priority", &raw.priority, 0..=255, 0);
            let weight = s.number("weight", &raw.weight, 1..=MAX_WEIGHT, 1);
            let locator = s.value("locator", &raw.locator, "\"fd00:1:0:2::/64\"")?;
            Some((LocatorChoice { locator, priority, weight }, "locator"))
        }
    }
}
