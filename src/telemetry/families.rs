//! What a metric family is, and how a program lists its own.

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Buckets of a duration in seconds.
    Histogram,
    /// A sum and a count.
    Summary,
}

/// A metric family: all metrics of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The help text.
    pub help: &'static str,
}

/// Lists the families of a program: `/// help`, then `CONSTANT: Kind = "name";`.
macro_rules! families {
    ($($(#[doc = $help:literal])+ $constant:ident: $kind:ident = $name:literal;)+) => {
        $(pub(super) const $constant: $crate::telemetry::Family =
            $crate::telemetry::Family { name: $name, kind: $crate::telemetry::Kind::$kind, help: concat!($($help),+).trim_ascii() };)+

        /// Every metric that is exported.
        pub const FAMILIES: &[$crate::telemetry::Family] = &[$($constant,)+];
    };
}

pub(crate) use families;
