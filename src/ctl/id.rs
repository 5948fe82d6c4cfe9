//! `ilactl id new`: identifiers for tasks by the methods of the ILA draft, appendix A, without a node, and
//! `ilactl id make`: by a node.

use super::args::{Method, NewArgs};
use super::client::Client;
use super::error::CtlError;
use super::output::Output;
use crate::api::v1;
use crate::ila::Identifier;
use crate::ila::generate::{BITS, Block, Eui64, Hashed, NtpTime, Registrar, TICK_MS, collision_odds};
use crate::net::Mac;
use serde::Serialize;
use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where Linux lists the machine's interfaces.
const INTERFACES: &str = "/sys/class/net";
/// Identifiers of a block that one call makes at most: a minute of them.
const MAX_OF_BLOCK: u32 = 60 * (1000 / TICK_MS) as u32;
/// The ARP hardware type of Ethernet, as the kernel writes it.
const ETHERNET: &str = "1";
/// The bit of a MAC address that says that somebody made it up.
const LOCAL: u8 = 2;

/// What was made, for programs.
#[derive(Debug, Serialize)]
struct Made {
    method: &'static str,
    identifiers: Vec<One>,
    population: u64,
    collision_odds: f64,
}

/// One identifier.
#[derive(Debug, Serialize)]
struct One {
    identifier: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sir: Option<Ipv6Addr>,
}

/// What a node made, for programs.
#[derive(Debug, Serialize)]
struct NodeMade {
    block: String,
    sirs: Vec<String>,
}

/// `id make`
pub(super) async fn make(
    client: &mut Client,
    out: &mut Output<'_>,
    domain: String,
    count: u32,
) -> Result<(), CtlError> {
    let request = v1::IdentifierMakeRequest { domain, count };
    let v1::IdentifiersMade { sirs, block } = client.calls().identifier_make(request).await?.into_inner();
    if out.json() {
        return out.value(&NodeMade { block: format!("{block:#08x}"), sirs });
    }
    sirs.iter().try_for_each(|sir| out.line(sir))
}

/// `id new`
pub(super) fn new(out: &mut Output<'_>, args: &NewArgs) -> Result<(), CtlError> {
    let count = u64::from(args.count);
    let population = args.population.unwrap_or(count);
    if population < count {
        return Err(CtlError::Values(format!(
            "--population {population} is less than --count {count}; count all that will be in use, the \
             new ones among them"
        )));
    }
    let (identifiers, odds) = match (args.method, args.block) {
        (Method::Hash, Some(_)) => {
            let why = "--block belongs to --method block; leave it out, or choose that method";
            return Err(CtlError::Values(why.to_owned()));
        }
        (Method::Hash, None) => (hashed(args)?, collision_odds(population, BITS)),
        (Method::Block, Some(registrar)) => (of_block(args, registrar)?, 0.0),
        // The command line asks for a block before it comes to this.
        (Method::Block, None) => {
            return Err(CtlError::Values("--method block needs --block BLOCK".to_owned()));
        }
    };
    let identifiers: Vec<One> = identifiers
        .into_iter()
        .map(|identifier| One {
            identifier: identifier.to_string(),
            sir: args.sir.map(|sir| sir.with(identifier).into()),
        })
        .collect();
    if out.json() {
        let method = args.method.name();
        return out.value(&Made { method, identifiers, population, collision_odds: odds });
    }
    for One { identifier, sir } in identifiers {
        out.line(&sir.map_or(identifier, |sir| sir.to_string()))?;
    }
    if args.population.is_none() {
        return Ok(());
    }
    out.line(&match args.method {
        Method::Hash => {
            format!("odds of a collision among {population}: {odds:.4e} (1 in {:.3e})", odds.recip())
        }
        Method::Block => format!(
            "odds of a collision among {population}: none, as long as nobody else uses the block and for \
             21.8 years"
        ),
    })
}

fn now() -> Result<Duration, CtlError> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| CtlError::Clock)
}

fn hashed(args: &NewArgs) -> Result<Vec<Identifier>, CtlError> {
    let host = match args.eui64 {
        Some(host) => host,
        None => this_machine(Path::new(INTERFACES))?,
    };
    Ok(Hashed::new(NtpTime::of_unix(now()?), host).take(args.count as usize).collect())
}

fn of_block(args: &NewArgs, registrar: Registrar) -> Result<Vec<Identifier>, CtlError> {
    if args.eui64.is_some() {
        let why = "--eui64 belongs to --method hash; leave it out, or choose that method";
        return Err(CtlError::Values(why.to_owned()));
    }
    if args.count > MAX_OF_BLOCK {
        return Err(CtlError::Values(format!(
            "--count {} takes more than a minute by method block, which makes 100 a second; ask for \
             {MAX_OF_BLOCK} at most, or choose --method hash",
            args.count
        )));
    }
    let mut block = Block::new(registrar);
    let start = now()?;
    let identifiers = (0..args.count).map(|_| block.draw(start)).collect();
    // Nothing is remembered from call to call: once the last stamp is over, the next call cannot draw it
    // again.
    std::thread::sleep(block.busy_until().saturating_sub(now()?));
    Ok(identifiers)
}

/// The EUI-64 of this machine: that of the first Ethernet interface whose MAC address a maker gave, or else
/// of the first at all.
fn this_machine(interfaces: &Path) -> Result<Eui64, CtlError> {
    let mut found: Vec<(bool, u32, Mac)> = fs::read_dir(interfaces)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let read = |name| fs::read_to_string(entry.path().join(name)).ok();
            let mac: Mac = read("address")?.trim().parse().ok()?;
            let index: u32 = read("ifindex")?.trim().parse().ok()?;
            let usable = read("type")?.trim() == ETHERNET && mac != Mac::ZERO && !mac.is_multicast();
            usable.then_some((mac.0[0] & LOCAL != 0, index, mac))
        })
        .collect();
    found.sort();
    let first = found.first().ok_or_else(|| CtlError::NoHost(interfaces.to_owned()))?;
    Ok(first.2.into())
}

#[cfg(test)]
mod tests {
    use super::super::{Args, run};
    use super::*;
    use crate::ila::IdentifierType;
    use clap::Parser;
    use std::collections::HashSet;

    const EUI64: &[&str] = &["--eui64", "02:00:00:00:00:0a"];

    fn ilactl(arguments: &[&[&str]]) -> Result<String, String> {
        let all = ["ilactl", "id", "new"].iter().chain(arguments.iter().copied().flatten());
        let args = Args::try_parse_from(all).map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        run(args, &mut text).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text).unwrap())
    }

    fn refused(arguments: &[&str], words: &str) {
        let error = ilactl(&[arguments]).unwrap_err();
        assert!(error.contains(words), "{arguments:?}: {error}");
    }

    #[test]
    fn one_identifier_a_line() {
        let text = ilactl(&[EUI64, &["--count", "50"]]).unwrap();
        let made: HashSet<Identifier> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(made.len(), 50);
        assert!(
            made.iter().all(|id| id.kind() == IdentifierType::LocallyUnique && id.zero_alias().is_none())
        );
        assert_ne!(ilactl(&[EUI64]).unwrap(), ilactl(&[EUI64]).unwrap());
    }

    #[test]
    fn as_addresses_and_with_the_odds() {
        let text = ilactl(&[EUI64, &["--sir", "2001:db8:0:1::/64", "--population", "1000000"]]).unwrap();
        let (address, odds) = text.split_once('\n').unwrap();
        let address: Ipv6Addr = address.parse().unwrap();
        assert_eq!(address.segments()[..4], [0x2001, 0xdb8, 0, 1]);
        assert_eq!(odds, "odds of a collision among 1000000: 4.3368e-7 (1 in 2.306e6)\n");
    }

    #[test]
    fn for_programs() {
        let text = ilactl(&[EUI64, &["--json", "--count", "2", "--sir", "2001:db8:0:1::/64"]]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["method"].as_str(), value["population"].as_u64()), (Some("hash"), Some(2)));
        let odds = value["collision_odds"].as_f64().unwrap();
        assert!(odds > 0.0 && odds < 1e-17, "{odds}");
        for one in value["identifiers"].as_array().unwrap() {
            let identifier: Identifier = one["identifier"].as_str().unwrap().parse().unwrap();
            let sir: Ipv6Addr = one["sir"].as_str().unwrap().parse().unwrap();
            assert_eq!(Identifier::of_address(sir.into()), identifier);
        }
        let text = ilactl(&[&["--json", "--method", "block", "--block", "1"]]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["method"].as_str(), value["collision_odds"].as_f64()), (Some("block"), Some(0.0)));
        assert!(value["identifiers"][0].get("sir").is_none());
    }

    #[test]
    fn calls_one_after_the_other_never_draw_the_same_of_a_block() {
        let block = ["--method", "block", "--block", "0xabcdef", "--count", "3"];
        let mut made = Vec::new();
        for _ in 0..3 {
            let text = ilactl(&[&block]).unwrap();
            made.extend(text.lines().map(|line| line.parse::<Identifier>().unwrap()));
        }
        assert_eq!(made.len(), 9);
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert!(made.iter().all(|id| id.0 >> 36 == 0x2ab_cdef), "{made:?}");
    }

    #[test]
    fn values_that_cannot_be() {
        refused(&["--count", "0"], "1..=1000000");
        refused(&["--count", "1000001"], "1..=1000000");
        refused(&["--sir", "2001:db8::/48"], "a SIR prefix has 64 bits");
        refused(&["--sir", "fe80::/64"], "2000::/3");
        refused(&["--eui64", "x"], "write for example");
        refused(&["--method", "uuid"], "hash, block");
        refused(&["--method", "block"], "--block");
        refused(&["--method", "block", "--block", "16777216"], "0 to 16777215");
        refused(&["--block", "1"], "--method block");
        refused(&["--method", "block", "--block", "1", "--eui64", "02:00:00:00:00:0a"], "--method hash");
        refused(&["--method", "block", "--block", "1", "--count", "6001"], "6000 at most");
        refused(&["--count", "10", "--population", "9"], "--population 9 is less than --count 10");
    }

    #[test]
    fn the_machine_is_known_by_the_interface_whose_address_a_maker_gave() {
        let dir = tempfile::tempdir().unwrap();
        let interface = |name: &str, index: &str, kind: &str, address: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            for (file, text) in [("ifindex", index), ("type", kind), ("address", address)] {
                fs::write(path.join(file), format!("{text}\n")).unwrap();
            }
        };
        let error = this_machine(dir.path()).unwrap_err().to_string();
        assert!(error.contains("--eui64"), "{error}");
        interface("lo", "1", "772", "00:00:00:00:00:00");
        interface("dummy0", "2", "1", "00:00:00:00:00:00");
        interface("tun0", "3", "65534", "");
        assert!(this_machine(dir.path()).is_err());
        interface("veth0", "4", "1", "02:00:00:00:00:04");
        assert_eq!(this_machine(dir.path()).unwrap().to_string(), "00:00:00:ff:fe:00:00:04");
        interface("eth1", "12", "1", "00:11:22:00:00:12");
        interface("eth0", "5", "1", "00:11:22:00:00:05");
        assert_eq!(this_machine(dir.path()).unwrap().to_string(), "02:11:22:ff:fe:00:00:05");
    }
}
