//! Attachments that several NVEs share.

use super::Catalogue;
use crate::nva::model::ObjectKey;

impl Catalogue {
    /// The addresses of an attachment are its own, if the one whose they were is gone.
    pub(in crate::nva) fn claim_again(&mut self, key: &ObjectKey) {
        let Some(held) = self.objects.get(key) else { return };
        for claim in held.entry.claims() {
            self.claims.entry(claim).or_insert_with(|| key.clone());
        }
    }
}
