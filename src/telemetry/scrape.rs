//! One scrape: the values of families, as Prometheus' text format, version 0.0.4.

use super::families::{Family, Kind};
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// One scrape. Each has its own recorder, so that nothing of an earlier scrape is left in it.
pub struct Scrape(PrometheusRecorder);

const METADATA: Metadata<'static> = Metadata::new("ilagate", Level::INFO, None);

impl Scrape {
    /// A scrape of these families, without values.
    #[must_use]
    pub fn of(families: &[Family]) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for family in families {
            let (name, help) = (family.name.into(), family.help.into());
            match family.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                // The recorder cannot take buckets that were counted elsewhere: their text is written by hand.
                Kind::Histogram | Kind::Summary => {}
            }
        }
        Scrape(recorder)
    }

    /// The total of a counter.
    pub fn count(&self, family: Family, labels: &[(&'static str, &str)], value: u64) {
        debug_assert_eq!(family.kind, Kind::Counter);
        self.0.register_counter(&key(family, labels), &METADATA).absolute(value);
    }

    /// The value of a gauge.
    pub fn set(&self, family: Family, labels: &[(&'static str, &str)], value: f64) {
        debug_assert_eq!(family.kind, Kind::Gauge);
        self.0.register_gauge(&key(family, labels), &METADATA).set(value);
    }

    /// The text.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.handle().render()
    }
}

/// The text of a histogram that was counted elsewhere: how many are in each bucket of these upper bounds, and beyond the
/// last one.
#[must_use]
pub fn histogram(family: Family, bounds: impl Iterator<Item = f64>, buckets: &[u64], sum: f64) -> String {
    histogram_head(family) + &histogram_of(family, "", bounds, buckets, sum)
}

/// What stands before the histograms of a family.
#[must_use]
pub fn histogram_head(Family { name, kind, help }: Family) -> String {
    debug_assert_eq!(kind, Kind::Histogram);
    format!("# HELP {name} {help}\n# TYPE {name} histogram\n")
}

/// One of the histograms of a family. `label` is `name="value"` with a value that needs no escape, or empty.
#[must_use]
pub fn histogram_of(
    Family { name, .. }: Family,
    label: &str,
    bounds: impl Iterator<Item = f64>,
    buckets: &[u64],
    sum: f64,
) -> String {
    let (more, only) = match label {
        "" => (String::new(), String::new()),
        label => (format!("{label},"), format!("{{{label}}}")),
    };
    let (mut text, mut count) = (String::new(), 0);
    for (bound, held) in bounds.zip(buckets) {
        count += held;
        text.push_str(&format!("{name}_bucket{{{more}le=\"{bound}\"}} {count}\n"));
    }
    count += buckets.last().copied().unwrap_or(0);
    text.push_str(&format!("{name}_bucket{{{more}le=\"+Inf\"}} {count}\n"));
    text.push_str(&format!("{name}_sum{only} {sum}\n{name}_count{only} {count}\n"));
    text
}

fn key(family: Family, labels: &[(&'static str, &str)]) -> Key {
    let labels =
        labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect::<Vec<_>>();
    Key::from_parts(family.name, labels)
}
