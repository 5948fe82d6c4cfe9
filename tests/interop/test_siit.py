"""tayga, a translator that we did not write, makes the same packets of the same, but where RFC 7915 says why not.

`examples/siit.rs` is our side (cargo build --example siit); tayga's is its TUN device in a namespace of its own.
"""

import fnmatch
import os
import random
import socket
import struct
import subprocess
import sys

A4, A6 = "192.0.2.1", "2001:db8:1::a"
B4, B6 = "198.51.100.10", "2001:db8:64::c633:640a"
DEVICE = "nat64"

# Cases in which the two differ (tayga is of 2011, before RFC 7915), and what the text says.
EXPLAINED = {
    "v4 source route": "§4.1: an unexpired source route MUST be refused; tayga skips it as any option",
    "v4 udp without checksum": "§4.5: computed or dropped, as configured; tayga drops",
    "v6 udp without checksum": "§5.5 says nothing, RFC 6935 allows it and IPv4 needs none; tayga drops",
    "v4 protocol 2": "§4.2: IGMP is dropped silently; tayga copies the number",
    "[er]* v4 df clear 1233": "§1.2: fragments of ICMP are not translated, so that whole ICMP needs no fragment header",
    "[er]* v4 df clear 1400": "§1.2: as with 1233 bytes; tayga adds a fragment header",
    "v4 protocol 51": "§4.1 would copy AH, behind which ICMPv6 may follow; ours refuses",
    "v6 protocol 51": "§5.1 would copy AH, behind which ICMP may follow; ours refuses",
    "v4 protocol 58": "§4.1 would copy it and make an ICMPv6 message out of anything; ours refuses",
    "v6 protocol 1": "§5.1 would copy it and make an ICMP message out of anything; ours refuses",
    "v6 * 1 segments left": "§5.1: MUST NOT be translated; tayga skips the header",
    "v? quote cut tcp": "§4.3, §5.3: RFC 792 quotes 8 bytes, which hold no TCP checksum; tayga drops",
    "v? quote cut reply": "§4.3, §5.3: quoted packets are translated as any; tayga knows no quoted reply",
    "v? time exceeded ? reply": "§4.3, §5.3: quoted packets are translated as any; tayga knows no quoted reply",
    "v6 unreachable 3": "§5.2: address unreachable is code 1; tayga drops",
    "v4 frag needed 0": "§4.2: the plateau itself is put into the message; tayga adds 20 bytes to it",
    "v6 too big fragment": "§5.2: the MTU takes a fragment header in the quote into account; tayga does not",
    "v4 parameter problem *": "§4.2, figure 3: pointers are translated; tayga drops",
    "v6 parameter problem *": "§5.2, figure 6: pointers are translated; tayga drops",
    "v? extension objects": "§4.2, §5.2: RFC 4884 objects pass with their length field; tayga leaves them out",
}


def four(address):
    return socket.inet_pton(socket.AF_INET, address)


def six(address):
    return socket.inet_pton(socket.AF_INET6, address)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(payload, protocol, source=A4, to=B4, tos=0, ident=0x1234, flags=0x4000, ttl=64, options=b""):
    length = 20 + len(options) + len(payload)
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | length - len(payload) >> 2, tos, length, ident, flags, ttl, protocol, 0,
                       four(source), four(to)) + options  # fmt: skip
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(payload, following, source=A6, to=B6, traffic=0, hops=64):
    head = struct.pack(">IHBB", 6 << 28 | traffic << 20, len(payload), following, hops)
    return head + six(source) + six(to) + payload


def sealed(segment, at, pseudo):
    value = checksum(pseudo + segment[:at] + b"\0\0" + segment[at + 2 :])
    return segment[:at] + struct.pack(">H", value or 0xFFFF) + segment[at + 2 :]


def segment(family, kind, data, ends):
    """TCP, UDP or echo with the checksum of the family; protocol number and bytes."""
    if kind == "tcp":
        number, at, body = 6, 16, struct.pack(">HHIIBBHHH", 1000, 80, 1, 2, 0x50, 0x18, 1024, 0, 0) + data
    elif kind == "udp":
        number, at, body = 17, 6, struct.pack(">HHHH", 1000, 53, 8 + len(data), 0) + data
    else:
        number, at = (1, 2) if family == 4 else (58, 2)
        types = {"echo": (8, 128), "reply": (0, 129)}[kind]
        body = struct.pack(">BBHHH", types[family == 6], 0, 0, 7, 9) + data
    return number, sealed(body, at, pseudo(family, ends, number, len(body)))


def pseudo(family, ends, number, length):
    if family == 4:
        return b"" if number == 1 else four(ends[0]) + four(ends[1]) + struct.pack(">BBH", 0, number, length)
    return six(ends[0]) + six(ends[1]) + struct.pack(">II", length, number)


def whole(family, kind, data=b"data", back=False, **more):
    ends = ((A4, B4), (A6, B6))[family == 6]
    ends = ends[::-1] if back else ends
    number, body = segment(family, kind, data, ends)
    return (ipv4, ipv6)[family == 6](body, number, *ends, **more)


def error4(kind, code, word, quote):
    return ipv4(sealed(struct.pack(">BBHI", kind, code, 0, word) + quote, 2, b""), 1, B4, A4)


def error6(kind, code, word, quote):
    body = struct.pack(">BBHI", kind, code, 0, word) + quote
    return ipv6(sealed(body, 2, pseudo(6, (B6, A6), 58, len(body))), 58, B6, A6)


def cases():
    """(name, packet): every rule of RFC 7915 that can be seen from outside."""
    data = random.Random(7915)
    for kind in ("tcp", "udp", "echo", "reply"):
        for size in (0, 1, 9, 500, 1200, 1232, 1233, 1400):
            for family in (4, 6):
                yield f"{kind} v{family} {size}", whole(family, kind, data.randbytes(size))
            yield f"{kind} v4 df clear {size}", whole(4, kind, data.randbytes(size), flags=0)
    for kind in ("tcp", "udp"):
        for family, name in ((4, {"tos": 0xB9}), (6, {"traffic": 0xB9})):
            yield f"{kind} v{family} class", whole(family, kind, **name)
    yield "v4 options skipped", whole(4, "udp", options=b"\1\1\1\0")
    yield "v4 expired source route", whole(4, "udp", options=b"\x83\7\x08\1\2\3\4\0")
    yield "v4 source route", whole(4, "udp", options=b"\x83\7\4\1\2\3\4\0")
    zero = struct.pack(">HHHH", 1000, 53, 12, 0) + b"data"
    yield "v4 udp without checksum", ipv4(zero, 17)
    yield "v6 udp without checksum", ipv6(zero, 17)
    for number in (2, 33, 47, 50, 51, 58, 132, 136):
        yield f"v4 protocol {number}", ipv4(data.randbytes(40), number)
    for number in (1, 33, 47, 50, 51, 59, 132, 135, 136):
        yield f"v6 protocol {number}", ipv6(data.randbytes(40), number)
    for offset, flags in ((0, 0x2000), (8, 0x2000), (16, 0)):
        number, body = segment(4, "udp", bytes(56), (A4, B4))
        yield f"v4 udp fragment {offset}", ipv4(body, number, flags=flags | offset)
        number, body = segment(6, "udp", bytes(56), (A6, B6))
        fragment = struct.pack(">BBHI", 17, 0, offset << 3 | (flags != 0), 0xABCD1234)
        yield f"v6 udp fragment {offset}", ipv6(fragment + body, 44)
        number, body = segment(4, "echo", bytes(56), (A4, B4))
        yield f"v4 echo fragment {offset}", ipv4(body, number, flags=flags | offset)
    for kind in ("tcp", "echo"):
        number, body = segment(6, kind, bytes(100), (A6, B6))
        yield f"v6 {kind} atomic fragment", ipv6(struct.pack(">BBHI", number, 0, 0, 0xABCD1234) + body, 44)
        for name, header in (("hop-by-hop", 0), ("destination", 60)):
            yield f"v6 {kind} {name} options", ipv6(bytes([number, 0, 1, 4, 0, 0, 0, 0]) + body, header)
        for left in (0, 1):
            routing = bytes([number, 2, 0, left]) + bytes(20)
            yield f"v6 {kind} {left} segments left", ipv6(routing + body, 43)
    for kind in (4, 5, 6, 9, 10, 13, 14, 15, 16, 17, 18, 40):
        yield f"v4 icmp type {kind}", error4(kind, 0, 0, whole(4, "udp"))
    for kind in (100, 130, 131, 132, 133, 134, 135, 136, 137, 143):
        yield f"v6 icmp type {kind}", error6(kind, 0, 0, whole(6, "udp"))
    # DF clear up to 1260 bytes and an identification of 0: as the IPv6 packet came out of a translator.
    quotes4 = {kind: whole(4, kind, data.randbytes(30), ident=0, flags=0) for kind in ("tcp", "udp", "echo", "reply")}
    quotes6 = {kind: whole(6, kind, data.randbytes(30)) for kind in quotes4}
    for kind in quotes4:
        for code in (0, 1):
            yield f"v4 time exceeded {code} {kind}", error4(11, code, 0, quotes4[kind])
            yield f"v6 time exceeded {code} {kind}", error6(3, code, 0, quotes6[kind])
        yield f"v4 quote cut {kind}", error4(11, 0, 0, quotes4[kind][:28])
        yield f"v6 quote cut {kind}", error6(3, 0, 0, quotes6[kind][:48])
    for code in range(17):
        yield f"v4 unreachable {code}", error4(3, code, 1400 if code == 4 else 0, quotes4["udp"])
    for code in range(7):
        yield f"v6 unreachable {code}", error6(1, code, 0, quotes6["udp"])
    for mtu in (0, 68, 576, 1260, 1261, 1400, 1480, 1500):
        big = whole(4, "tcp", data.randbytes(1460), ident=0)
        yield f"v4 frag needed {mtu}", error4(3, 4, mtu, big[:200])
    for mtu in (1280, 1400, 1500, 9000):
        big = whole(6, "tcp", data.randbytes(1440))
        yield f"v6 too big {mtu}", error6(2, 0, mtu, big[:200])
    number, body = segment(6, "udp", bytes(100), (A6, B6))
    fragment = ipv6(struct.pack(">BBHI", 17, 0, 1, 0x1234) + body[:96], 44)
    yield "v6 too big fragment", error6(2, 0, 1400, fragment)
    for pointer in range(21):
        yield f"v4 parameter problem {pointer}", error4(12, 0, pointer << 24, quotes4["udp"])
    for code in (1, 2, 3):
        yield f"v4 parameter problem code {code}", error4(12, code, 0, quotes4["udp"])
    for pointer in (*range(10), 23, 24, 39, 40):
        yield f"v6 parameter problem {pointer}", error6(4, 0, pointer, quotes6["udp"])
    for code in (1, 2, 3):
        yield f"v6 parameter problem code {code}", error6(4, code, 40, quotes6["udp"])
    yield "v4 error about an error", error4(3, 1, 0, ipv4(error4(11, 0, 0, quotes4["udp"])[20:], 1))
    long6 = whole(6, "tcp", data.randbytes(1100))
    yield "v6 long error", error6(3, 0, 0, long6)
    long4 = whole(4, "tcp", data.randbytes(1400), ident=0)
    yield "v4 long error", error4(11, 0, 0, long4[:1300])
    objects = bytes.fromhex("2000000000080101123451ff")
    mpls4 = whole(4, "udp", data.randbytes(100), ident=0, flags=0)
    yield "v4 extension objects", error4(11, 0, len(mpls4) // 4 << 16, mpls4 + objects)
    mpls6 = whole(6, "udp", data.randbytes(96))
    yield "v6 extension objects", error6(3, 0, len(mpls6) // 8 << 24, mpls6 + objects)


def marks():
    """Packets that tayga surely translates, and how each ends: unlike all others."""
    for n in range(1 << 16):
        data = b"mark" + struct.pack(">H", n)
        yield whole(6, "udp", data), data


def drive():
    """Sends the packets of stdin into tayga's device, and prints what comes out, a line for a line.

    tayga takes one packet after the other: when the mark behind a packet comes out, nothing more comes of that packet.
    """
    every = socket.htons(3)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, every) as device:
        device.bind((DEVICE, 3))
        device.settimeout(60)
        for line, (mark, data) in zip(sys.stdin, marks()):
            for packet in (bytes.fromhex(line.strip()), mark):
                device.sendto(packet, (DEVICE, 0x0800 if packet[0] >> 4 == 4 else 0x86DD))
            received = []
            while True:
                packet, address = device.recvfrom(65536)
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                if packet.endswith(data):
                    break
                received.append(packet.hex())
            print(" ".join(received), flush=True)


def plain(packet):
    """Without what a caller of the library chooses: hop counts, and names of IPv4 packets that are no fragments.

    Without DF of short packets too: tayga always sets it (RFC 6145), RFC 7915 §5.1 clears it up to 1260 bytes.
    """
    packet = bytearray(packet)

    def blank(at):
        if packet[at] >> 4 == 4:
            packet[at + 8] = 0
            packet[at + 10 : at + 12] = b"\0\0"
            if (packet[at + 6] & 0x3F, packet[at + 7]) == (0, 0):
                packet[at + 4 : at + 6] = b"\0\0"
                if struct.unpack_from(">H", packet, at + 2)[0] <= 1260:
                    packet[at + 6] &= 0xBF
        else:
            packet[at + 7] = 0

    blank(0)
    if packet[0] >> 4 == 4 and packet[9] == 1 and packet[20] in (3, 11, 12) and len(packet) >= 48:
        blank(28)
    return bytes(packet)


def compare(names, packets, ours, theirs):
    """{name: (ours, theirs)} of the cases that differ."""
    found = {}
    for name, packet, us, them in zip(names, packets, ours, theirs, strict=True):
        us = [] if us.startswith("refused") else [plain(bytes.fromhex(word)) for word in us.split()]
        them = [plain(bytes.fromhex(word)) for word in them.split()]
        # An answer to the sender is not a translation: both are free to drop.
        them = [p for p in them if p[0] >> 4 != packet[0] >> 4]
        if us != them:
            found[name] = (us, them)
    return found


def test_tayga_makes_the_same_packets():
    from lab import Lab, binary
    from wait import expect, need, until

    need("tayga")
    ours_path = os.path.join(os.path.dirname(binary("ilactl")), "examples", "siit")
    expect(os.path.exists(ours_path), f"{ours_path} is not built: cargo build --example siit, --release as the rest")
    names, packets = zip(*cases(), strict=True)
    lines = "".join(packet.hex() + "\n" for packet in packets)
    ours = subprocess.run(
        [ours_path, f"{A4}={A6}", f"{B4}={B6}"], input=lines, capture_output=True, text=True, check=True, timeout=240
    ).stdout.splitlines()
    with Lab("siit") as lab:
        ns = lab.ns("tayga")
        config = lab.path("tayga.conf")
        with open(config, "w") as file:
            file.write(f"tun-device {DEVICE}\nipv4-addr 203.0.113.1\nipv6-addr 2001:db8:2::1\n"
                       f"prefix 2001:db8:64::/96\nmap {A4} {A6}\n")  # fmt: skip
        ns.run(["tayga", "--mktun", "-c", config])
        ns.run(f"ip link set {DEVICE} up")
        ns.spawn(["tayga", "-n", "-c", config])
        until(lambda: "LOWER_UP" in ns.run(f"ip link show {DEVICE}"), "tayga's device")
        theirs = ns.run(["/usr/bin/python3", os.path.abspath(__file__), "drive"], timeout=240, stdin=lines).splitlines()
    found = compare(names, packets, ours, theirs)
    new = [name for name in found if not any(fnmatch.fnmatchcase(name, pattern) for pattern in EXPLAINED)]
    for name in new:
        us, them = found[name]
        print(f"{name}\n  ours   {[p.hex() for p in us]}\n  tayga  {[p.hex() for p in them]}", file=sys.stderr)
    expect(not new, f"{len(new)} of {len(names)} differ without an explanation: {new}")
    gone = [pattern for pattern in EXPLAINED if not fnmatch.filter(found, pattern)]
    expect(not gone, f"explained differences that are none: {gone}")
    # Most translate at all: two translators that drop everything agree too.
    translated = sum(1 for us in ours if not us.startswith("refused"))
    expect(translated > len(names) / 2, f"{translated} of {len(names)} translated")


if __name__ == "__main__":
    drive()
