//! What ILA routers tell of triangular packets, and who is told of it.

use super::Authority;
use crate::nva::message::{SessionId, Triangle};

impl Authority {
    /// An ILA router tells of packets that could go direct (ILA draft §4.6).
    pub(super) fn hear_of(&mut self, id: SessionId, router: &str, triangles: &[Triangle], now_ms: u64) {
        if !self.registry.is_router(router) {
            let why =
                format!("Triangular of {router}, which is no ILA router; set nves[].router if it is one");
            return self.end(id, why, now_ms);
        }
        for triangle in triangles {
            let allowance = self.sessions.with_allowance(id).map(|(_, allowance)| allowance);
            if !allowance.is_some_and(|allowance| allowance.triangles.take(now_ms)) {
                self.triangles.unheard += 1;
            } else if let Some(nve) = self.redirect(*triangle, now_ms) {
                self.triangles.redirected += 1;
                self.note_redirect(id, nve.into(), triangle.destination);
            } else {
                self.triangles.needless += 1;
            }
        }
    }

    /// Has the NVE of a sender told where its packets go. Gives its name, unless that would be of no use. Only who has the
    /// source is told, and only what the registry holds: a router cannot mislead anybody.
    fn redirect(&mut self, Triangle { source, destination }: Triangle, now_ms: u64) -> Option<String> {
        let holder = |key| self.registry.record(key).filter(|record| record.is_held()).map(|it| &*it.owner);
        let nve = holder(source).filter(|_| source.sir_prefix == destination.sir_prefix)?;
        holder(destination).filter(|other| *other != nve)?;
        let mut sessions = self.sessions.all.iter_mut();
        let (id, session) = sessions.find(|(_, session)| session.nve.as_deref() == Some(nve))?;
        session.redirect(destination, self.settings.sessions.cache_lifetime_ms, now_ms).then(|| {
            self.sessions.due.insert(*id);
            nve.to_owned()
        })
    }
}
