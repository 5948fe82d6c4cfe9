//! What Prometheus and probes read of a program: metric families as text, served over HTTP within bounds.

mod connections;
pub mod families;
pub mod http;
pub mod scrape;

pub use families::{Family, Kind};
pub use scrape::{Scrape, histogram, histogram_head, histogram_of};
