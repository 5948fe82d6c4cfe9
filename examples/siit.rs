//! Translates packets given in hexadecimal, one on each line: `siit A4=A6 B4=B6 … < packets`.
//!
//! Prints one line for each: the translated packets, fragmented at 1280 bytes where RFC 7915 §4.1 requires it, or
//! `refused` and the reason. Addresses are looked up in the pairs of the command line. The program serves comparisons
//! with other translators.

use anyhow::{Context, bail};
use ilagate::siit::{Options, Refused, To4, To6, fragment, to_v4, to_v6};
use std::io::BufRead;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of room in front of a packet.
const FRONT: usize = 128;

fn unhex(line: &str) -> anyhow::Result<Vec<u8>> {
    let digits = line.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn address<const N: usize>(packet: &[u8], at: usize) -> anyhow::Result<[u8; N]> {
    packet.get(at..).and_then(|rest| rest.first_chunk()).copied().context("no address")
}

fn translate(packet: &[u8], pairs: &[(u32, u128)]) -> anyhow::Result<Result<Vec<Vec<u8>>, Refused>> {
    let four = |six: u128| pairs.iter().find(|pair| pair.1 == six).map(|pair| pair.0);
    let six = |four: u32| pairs.iter().find(|pair| pair.0 == four).map(|pair| pair.1);
    let mut room = [&[0; FRONT][..], packet].concat();
    let (at, options) = (FRONT..room.len(), Options::default());
    let result = match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let (source, destination) =
                (u32::from_be_bytes(address(packet, 12)?), u32::from_be_bytes(address(packet, 16)?));
            let to = To6 {
                source: six(source).context("source")?,
                destination: six(destination).context("destination")?,
            };
            to_v6(&mut room, at, &to, |a, b| Some((six(a)?, six(b)?)), &options)
        }
        Some(6) => {
            let (source, destination) =
                (u128::from_be_bytes(address(packet, 8)?), u128::from_be_bytes(address(packet, 24)?));
            let to = To4 {
                source: four(source).context("source")?,
                destination: four(destination).context("destination")?,
                identification: 0,
            };
            to_v4(&mut room, at, &to, |a, b| Some((four(a)?, four(b)?)), &options)
        }
        _ => bail!("neither IPv4 nor IPv6"),
    };
    let at = match result {
        Ok(at) => at,
        Err(refused) => return Ok(Err(refused)),
    };
    let packet = room.get(at).context("outside the room")?;
    // Only a packet with a fragment header may be fragmented.
    if packet.first().is_some_and(|first| first >> 4 == 6) && packet.get(6) == Some(&44) {
        let pieces =
            fragment::v6(packet, options.lowest_mtu6, 0).map_err(|why| anyhow::anyhow!("{why:?}"))?;
        return Ok(Ok(pieces
            .map(|piece| {
                let mut bytes = vec![0; piece.len()];
                piece.write(&mut bytes).map(|_| bytes)
            })
            .collect::<Option<_>>()
            .context("a piece is longer than it says")?));
    }
    Ok(Ok(vec![packet.to_vec()]))
}

fn main() -> anyhow::Result<()> {
    let mut pairs = Vec::new();
    for word in std::env::args().skip(1) {
        let (four, six) = word.split_once('=').context("A4=A6")?;
        pairs.push((u32::from(four.parse::<Ipv4Addr>()?), u128::from(six.parse::<Ipv6Addr>()?)));
    }
    for line in std::io::stdin().lock().lines() {
        match translate(&unhex(line?.trim())?, &pairs)? {
            Ok(packets) => {
                println!("{}", packets.iter().map(|packet| hex(packet)).collect::<Vec<_>>().join(" "))
            }
            Err(refused) => println!("refused {refused:?}"),
        }
    }
    Ok(())
}
