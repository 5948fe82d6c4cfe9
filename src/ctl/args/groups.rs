//! What to do with groups for hot failover.

use clap::{Subcommand, ValueEnum};

/// Groups of NVEs at which an attachment stands for hot failover.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List them, and whether nobody fails over
    List {
        /// Only those that this NVE is a member of
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
    },
    /// Show one, with what happened when
    Show {
        /// Its name
        name: String,
    },
    /// Declare one for an attachment that is at its first member
    Add {
        /// Its name
        name: String,
        /// Name of the attachment, the same at all members
        #[arg(long, value_name = "NAME")]
        attachment: String,
        /// An NVE, with the port and the VLAN tag there if they are others than at the first one, and its weight if it is
        /// shared: NVE[:PORT[.VLAN]][=WEIGHT]. The first one is the primary
        #[arg(long = "member", value_name = "MEMBER", required = true, value_parser = member)]
        members: Vec<GroupMember>,
        /// Who has the identifiers
        #[arg(long, value_enum, default_value_t = GroupKind::Primary)]
        kind: GroupKind,
    },
    /// Declare one no longer; the attachment stays where it is
    #[command(visible_alias = "del")]
    Delete {
        /// Its name
        name: String,
    },
    /// Bring the identifiers of one back to its primary, or to all members that share them
    Return {
        /// Its name
        name: String,
        /// To this member instead
        #[arg(long, value_name = "NVE")]
        to: Option<String>,
    },
    /// Let groups fail over although too many NVEs vanished at once: they are lost
    ReleaseBrake,
}

/// Who has the identifiers of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupKind {
    /// The first member; the others are its standbys, in their order
    Primary,
    /// All members, by weight
    Shared,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Name of the NVE.
    pub nve: String,
    /// Its port there; empty: as at the first one.
    pub port: String,
    /// Its VLAN there.
    pub vlan: Option<u16>,
    /// Its part of the traffic.
    pub weight: u16,
}

/// Reads `NVE[:PORT[.VLAN]][=WEIGHT]`.
fn member(text: &str) -> Result<GroupMember, String> {
    let number = |what: &str, text: &str| {
        text.parse::<u16>().map_err(|_| format!("`{text}` is no {what}; write a number"))
    };
    let (place, weight) = match text.rsplit_once('=') {
        Some((place, weight)) => (place, number("weight", weight)?),
        None => (text, 1),
    };
    let (nve, at) = place.split_once(':').unwrap_or((place, ""));
    let (port, vlan) = match at.split_once('.') {
        Some((port, vlan)) => (port, Some(number("VLAN tag", vlan)?)),
        None => (at, None),
    };
    if nve.is_empty() || place.contains(':') && port.is_empty() {
        return Err(format!("`{text}` is no member; write NVE[:PORT[.VLAN]][=WEIGHT]"));
    }
    Ok(GroupMember { nve: nve.to_owned(), port: port.to_owned(), vlan, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_an_nve_with_its_place_and_its_weight() {
        let of = |nve: &str, port: &str, vlan, weight| GroupMember {
            nve: nve.to_owned(),
            port: port.to_owned(),
            vlan,
            weight,
        };
        assert_eq!(member("nve1"), Ok(of("nve1", "", None, 1)));
        assert_eq!(member("nve1=3"), Ok(of("nve1", "", None, 3)));
        assert_eq!(member("nve2:access0"), Ok(of("nve2", "access0", None, 1)));
        assert_eq!(member("nve2:access0.22=7"), Ok(of("nve2", "access0", Some(22), 7)));
        for wrong in ["", ":access0", "nve2:", "nve2:a.x", "nve2=x", "nve2:.22", "nve2:a.70000"] {
            assert!(member(wrong).is_err(), "{wrong}");
        }
    }
}
