//! What an NVE that is an ILA router tells of packets that came to it and could have gone direct. It samples: what is not
//! told now is told by a later packet.

use super::bucket::Bucket;
use super::message::{TRIANGLES, Triangle};
use std::collections::HashMap;

/// Shortest time between two reports of one sender and destination.
const AGAIN_MS: u64 = 1_000;
/// Senders and destinations of which it is known when they were told last.
const TOLD: usize = 4_096;
/// How many are told at once, and the time after which another one is: no more than the authority hears.
const RATE: (u64, u64) = (100, 20_000);

/// What was told.
#[derive(Debug)]
pub(super) struct Triangles {
    /// When each was told last.
    told: HashMap<Triangle, u64>,
    bucket: Bucket,
    /// How many were told.
    pub(super) count: u64,
}

impl Default for Triangles {
    fn default() -> Self {
        Triangles { told: HashMap::new(), bucket: Bucket::new(RATE.0, RATE.1), count: 0 }
    }
}

impl Triangles {
    /// Those of the triangles that are to be told now, each time as many as one message holds.
    pub(super) fn choose(
        &mut self,
        seen: impl IntoIterator<Item = Triangle>,
        now_ms: u64,
    ) -> Vec<Vec<Triangle>> {
        let mut chosen = Vec::new();
        for triangle in seen {
            if self.told.len() >= TOLD {
                self.told.retain(|_, told_ms| now_ms < *told_ms + AGAIN_MS);
            }
            let is_told = self.told.get(&triangle).is_some_and(|told_ms| now_ms < told_ms + AGAIN_MS);
            if !is_told && self.told.len() < TOLD && self.bucket.take(now_ms) {
                self.told.insert(triangle, now_ms);
                chosen.push(triangle);
            }
        }
        self.count += chosen.len() as u64;
        chosen.chunks(TRIANGLES).map(<[Triangle]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nva::model::Key;

    fn triangle(source: u64, destination: u64) -> Triangle {
        let key = |identifier| Key { sir_prefix: 1, identifier };
        Triangle { source: key(source), destination: key(destination) }
    }

    #[test]
    fn a_detour_is_told_once_a_second_and_many_are_told_at_a_rate() {
        let mut triangles = Triangles::default();
        let mut told =
            |seen: &[Triangle], now_ms| triangles.choose(seen.iter().copied(), now_ms).concat().len();
        assert_eq!(told(&[triangle(1, 2), triangle(1, 2), triangle(2, 1)], 0), 2);
        assert_eq!((told(&[triangle(1, 2)], 999), told(&[triangle(1, 2)], 1_000)), (0, 1));
        let many: Vec<Triangle> = (0..10_000).map(|n| triangle(3, n)).collect();
        let mut all = 0;
        for second in 0..10 {
            all += told(&many[second * 1_000..][..1_000], 10_000 + second as u64 * 1_000);
        }
        assert!((500..=600).contains(&all), "{all}");
        assert!(triangles.choose(many, 60_000).iter().all(|message| message.len() <= TRIANGLES));
        assert!(triangles.told.len() <= TOLD);
    }
}
