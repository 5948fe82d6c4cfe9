"""Just enough of packets to look at captures: pcap files, IPv6 headers, transport checksums, checksum-neutral mapping.

Written apart from the node's own code, from the standards alone, so that both can be held against each other.
"""

import ipaddress
import struct

TCP, UDP, ICMP6, FRAGMENT = 6, 17, 58, 44


def read_pcap(path):
    """The frames of a pcap file; a frame that is still being written is left out."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 24:
        return []
    magic = data[:4]
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    frames, at = [], 24
    while at + 16 <= len(data):
        held = struct.unpack_from(order + "I", data, at + 8)[0]
        if at + 16 + held > len(data):
            break
        frames.append(data[at + 16 : at + 16 + held])
        at += 16 + held
    return frames


def write_pcap(path, frames, step_ns=1000):
    """Writes frames, `step_ns` apart."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for n, frame in enumerate(frames):
            seconds, rest = divmod(n * step_ns, 10**9)
            file.write(struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame)


def address(value):
    return str(ipaddress.IPv6Address(value))


def fold(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words_sum(data):
    if len(data) % 2:
        data += b"\0"
    return fold(sum(struct.unpack(f">{len(data) // 2}H", data)))


class Packet:
    """An IPv6 packet in an Ethernet frame."""

    def __init__(self, frame):
        self.frame, self.vlan = frame, None
        kind, at = struct.unpack_from(">H", frame, 12)[0], 14
        if kind == 0x8100:
            self.vlan = struct.unpack_from(">H", frame, 14)[0] & 0xFFF
            kind, at = struct.unpack_from(">H", frame, 16)[0], 18
        if kind != 0x86DD:
            raise ValueError("not IPv6")
        self.ip = frame[at:]
        length, self.protocol, self.hop_limit = struct.unpack_from(">HBB", self.ip, 4)
        self.source, self.destination = address(self.ip[8:24]), address(self.ip[24:40])
        self.payload = self.ip[40 : 40 + length]

    def checksum_is_right(self):
        """Whether the TCP, UDP or ICMPv6 checksum covers these addresses and this payload."""
        pseudo = self.ip[8:40] + struct.pack(">II", len(self.payload), self.protocol)
        return words_sum(pseudo + self.payload) == 0xFFFF

    def to_mac(self):
        return self.frame[:6].hex(":")

    def addresses(self):
        return self.source, self.destination


def ipv6(frames):
    """The frames that are IPv6 packets."""
    found = []
    for frame in frames:
        try:
            found.append(Packet(frame))
        except (ValueError, struct.error):
            pass
    return found


def half(text):
    """The upper 64 bits of an address or prefix."""
    return int(ipaddress.IPv6Address(text.split("/")[0])) >> 64


def ila(sir, locator, mode="neutral-map"):
    """The ILA address of a SIR address under a locator (ILA draft §4.4.1, with the sign that Linux uses)."""
    value = int(ipaddress.IPv6Address(sir))
    identifier = value & (2**64 - 1)
    if mode in ("neutral-map", "neutral-map-auto"):
        difference = words_sum((value >> 64).to_bytes(8, "big")) + (
            0xFFFF - words_sum(half(locator).to_bytes(8, "big"))
        )
        low = identifier & 0xFFFF
        if mode == "neutral-map":
            low = fold(low + difference + 0xEFFF)
            identifier |= 1 << 60
        else:
            low = fold(low + difference)
        identifier = identifier & ~0xFFFF | low
    return address((half(locator) << 64) | identifier)


def build(source, destination, protocol, payload, source_mac, destination_mac, hop_limit=64, checksum_at=None):
    """A frame with an IPv6 packet, its checksum filled in at `checksum_at` of the payload."""
    pair = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    if checksum_at is not None:
        pseudo = pair + struct.pack(">II", len(payload), protocol)
        total = 0xFFFF - words_sum(pseudo + payload)
        payload = payload[:checksum_at] + struct.pack(">H", total or 0xFFFF) + payload[checksum_at + 2 :]
    header = struct.pack(">IHBB", 6 << 28, len(payload), protocol, hop_limit) + pair
    link = bytes.fromhex(destination_mac.replace(":", "") + source_mac.replace(":", "")) + b"\x86\xdd"
    return link + header + payload


def udp(source_port, destination_port, data):
    return struct.pack(">HHHH", source_port, destination_port, 8 + len(data), 0) + data
