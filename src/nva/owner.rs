//! Names of NVEs as records carry them: those of a registry share one name for each NVE.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The name of the NVE that has something. A copy costs no memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Arc<str>);

impl Deref for Owner {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Owner {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Owner {
    fn from(name: &str) -> Self {
        Owner(name.into())
    }
}

impl From<String> for Owner {
    fn from(name: String) -> Self {
        Owner(name.into())
    }
}

impl<T: AsRef<str> + ?Sized> PartialEq<T> for Owner {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Names that records share as they are read.
#[derive(Debug, Default)]
pub(super) struct Owners(HashSet<Owner>);

impl Owners {
    /// Lets `owner` have the memory of those before it with the same name.
    pub(super) fn share(&mut self, owner: &mut Owner) {
        match self.0.get(&**owner) {
            Some(shared) => owner.clone_from(shared),
            None => _ = self.0.insert(owner.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_the_same_name_share_its_memory() {
        let mut owners = Owners::default();
        let [mut first, mut second, mut other] = ["nve1", "nve1", "nve2"].map(Owner::from);
        assert!(!Arc::ptr_eq(&first.0, &second.0));
        for owner in [&mut first, &mut second, &mut other] {
            owners.share(owner);
        }
        assert!(Arc::ptr_eq(&first.0, &second.0));
        assert_eq!((first, other), ("nve1".into(), "nve2".into()));
    }
}
