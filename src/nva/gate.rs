//! Which operators are let in, and what they may see.

use super::inbox::Author;
use super::listen::Peer;
use super::reload::Operators;
use super::scope::Sight;
use super::server::Trusted;
use crate::config::OperatorRole;
use crate::tls::Role;
use std::sync::Arc;
use tokio::sync::watch;

/// Lets operators in.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) trusted: Trusted,
    pub(super) operators: watch::Receiver<Operators>,
}

impl Gate {
    /// Who calls, and what of the registry that one may see; now, and not only when it connected. Who may open the Unix
    /// socket may everything.
    ///
    /// # Errors
    /// It comes in the clear over an address, is no operator, or has a lower role than `needed`.
    pub(super) fn admit(&self, peer: &Peer, needed: OperatorRole) -> Result<(Author, Sight), String> {
        let author = |who| Author { who, from: peer.from.clone() };
        let (chain, trusted) = match (&peer.chain, &self.trusted) {
            (None, _) if peer.is_unix() => {
                return Ok((author("the Unix socket".to_owned()), Sight::default()));
            }
            (None, _) | (_, None) => {
                return Err(
                    "operators come by the Unix socket or by TLS, and not in the clear over an address"
                        .to_owned(),
                );
            }
            (Some(chain), Some(trusted)) => (chain, trusted),
        };
        let identity = trusted.borrow().judge(chain).map_err(|why| why.to_string())?;
        if identity.role() != Role::Operator {
            return Err(format!("{identity} is no operator"));
        }
        let operators = self.operators.borrow();
        match operators.get(identity.name()) {
            Some(rights) if rights.role >= needed => {
                let sight = Sight { networks: rights.networks.clone().map(Arc::new) };
                Ok((author(identity.to_string()), sight))
            }
            Some(rights) => Err(format!(
                "{identity} is a {}, and this is for a role of {} or more; change its role in operators",
                rights.role.name(),
                needed.name()
            )),
            None => Err(format!("{identity} is not among the operators of this authority; add it there")),
        }
    }
}
