//! Checksums that a sender left to its device. Linux writes the sum of the pseudo header into the checksum field, and
//! a virtual link hands the frame over as it is: its receiver sees a wrong checksum.

use super::checksum::{add, fold, pseudo_header, sum_of_bytes};
use super::ethernet;
use super::ipv4::Ipv4;
use super::ipv6::{HEADER, Ipv6};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whether the frame is a whole TCP or UDP packet whose checksum field holds the sum of the pseudo header, and not the
/// checksum. Extension headers and fragments are not looked through.
#[must_use]
pub fn is_unfinished(frame: &[u8]) -> bool {
    let Some(link) = ethernet::parse(frame) else { return false };
    let packet = frame.get(link.header..).unwrap_or_default();
    let found = match link.ethertype {
        ethernet::IPV6 => upper_ipv6(packet),
        ethernet::IPV4 => upper_ipv4(packet),
        _ => None,
    };
    let Some((pseudo, protocol, message)) = found else { return false };
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return false,
    };
    // A checksum may have the same value by chance.
    message.get(at..at + 2) == Some(&pseudo.to_be_bytes()) && add(pseudo, sum_of_bytes(message)) != 0xffff
}

/// Which of a worker's queues has its next frame looked at: each in turn, so that a busy one hides no other.
#[derive(Debug, Default)]
pub struct Looks {
    queue: usize,
    due: bool,
}

impl Looks {
    /// It is the turn of the next one of so many queues, whether the one before had a frame or not.
    pub fn turn(&mut self, queues: usize) {
        (self.queue, self.due) = ((self.queue + 1) % queues.max(1), true);
    }

    /// Whether a frame of this queue is to be looked at. It is the only one of this turn.
    #[inline]
    pub fn take(&mut self, queue: usize) -> bool {
        self.due && self.queue == queue && std::mem::take(&mut self.due)
    }
}

/// The sum of the pseudo header, the protocol and the message.
fn upper_ipv6(packet: &[u8]) -> Option<(u16, u8, &[u8])> {
    let header = Ipv6::of(packet)?;
    let message = packet.get(HEADER..HEADER + usize::from(header.payload_length()))?;
    let protocol = header.next_header();
    let sum = pseudo_header(header.source(), header.destination(), message.len() as u32, protocol);
    Some((sum, protocol, message))
}

fn upper_ipv4(packet: &[u8]) -> Option<(u16, u8, &[u8])> {
    let header = Ipv4::of(packet)?;
    if header.more_fragments() || header.fragment_offset() != 0 {
        return None;
    }
    let message = packet.get(header.header_length()..usize::from(header.total_length()))?;
    let protocol = header.protocol();
    let addresses = u64::from(header.source()) + u64::from(header.destination());
    Some((fold(addresses + message.len() as u64 + u64::from(protocol)), protocol, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    /// Frames with a right checksum, of each protocol and version.
    fn frames() -> Vec<Vec<u8>> {
        let link = || PacketBuilder::ethernet2([2; 6], [4; 6]);
        let payload = b"payload of odd length";
        let mut all = vec![Vec::new(); 4];
        let (a, b) = ([0x20; 16], [0x30; 16]);
        link().ipv6(a, b, 64).tcp(1, 2, 3, 4).write(&mut all[0], payload).unwrap();
        link().ipv6(a, b, 64).udp(1, 2).write(&mut all[1], payload).unwrap();
        link().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 3, 4).write(&mut all[2], payload).unwrap();
        link().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2).write(&mut all[3], payload).unwrap();
        all
    }

    /// The frame as Linux hands it over: its own sum over nothing but the pseudo header.
    fn unfinished(frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        let packet = &frame[14..];
        let (sum, protocol, _) =
            if packet[0] >> 4 == 6 { upper_ipv6(packet) } else { upper_ipv4(packet) }.unwrap();
        let at = 14 + if packet[0] >> 4 == 6 { 40 } else { 20 } + if protocol == TCP { 16 } else { 6 };
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn a_checksum_that_was_left_to_the_device_is_told_from_a_right_and_from_a_wrong_one() {
        for frame in frames() {
            assert!(!is_unfinished(&frame));
            let left = unfinished(&frame);
            assert!(is_unfinished(&left));
            // Padding behind the packet, and a tag before it, change nothing.
            assert!(is_unfinished(&[&left[..], &[0; 7]].concat()));
            assert!(is_unfinished(&[&left[..12], &[0x81, 0, 0, 5], &left[12..]].concat()));
            // Only wrong.
            let mut wrong = frame.clone();
            *wrong.last_mut().unwrap() ^= 1;
            assert!(!is_unfinished(&wrong));
        }
    }

    #[test]
    fn a_queue_that_always_has_frames_hides_no_other() {
        for queues in 1..5 {
            let (mut looks, mut looked) = (Looks::default(), vec![0; queues]);
            assert!((0..queues).all(|queue| !looks.take(queue)));
            for _ in 0..12 * queues {
                looks.turn(queues);
                // All are polled, in order and more than once, and all have frames.
                for queue in (0..queues).cycle().take(3 * queues) {
                    looked[queue] += u32::from(looks.take(queue));
                }
            }
            assert_eq!(looked, vec![12; queues]);
            // Who has none loses the turn, and no more.
            looks.turn(queues);
            looks.turn(queues);
            assert_eq!((0..queues).filter(|queue| looks.take(*queue)).count(), 1);
        }
    }

    #[test]
    fn what_is_cut_short_is_not_looked_at() {
        for frame in frames() {
            let left = unfinished(&frame);
            assert!((0..left.len()).all(|length| !is_unfinished(&left[..length])));
        }
        let mut fragment = unfinished(&frames()[3]);
        fragment[14 + 6] = 0x20;
        assert!(!is_unfinished(&fragment));
    }
}
