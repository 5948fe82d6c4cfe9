"""A switch with one trunk and access ports on VLANs, for kernels without 802.1Q: vlan_switch.py TRUNK DEVICE=VID …"""

import selectors
import socket
import struct
import sys

PACKET_AUXDATA, SOL_PACKET, ETH_P_ALL = 8, 263, 3
VLAN_VALID = 0x10


def open_port(device):
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    port.setsockopt(SOL_PACKET, 23, 1)  # PACKET_IGNORE_OUTGOING
    port.bind((device, 0))
    membership = struct.pack("iHH8s", socket.if_nametoindex(device), 1, 0, b"")  # PACKET_MR_PROMISC
    port.setsockopt(SOL_PACKET, 1, membership)
    return port


def receive(port):
    """The frame without its tag, and the tag's VLAN: the kernel takes tags off before anybody sees the frame."""
    frame, auxiliary, _, _ = port.recvmsg(65535, 256)
    for level, kind, data in auxiliary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tag = struct.unpack_from("IIIHHH", data)
            if status & VLAN_VALID:
                return frame, tag & 0xFFF
    return frame, 0


def main(trunk_name, members):
    trunk = open_port(trunk_name)
    vlans = {}
    for member in members:
        device, vlan = member.split("=")
        vlans.setdefault(int(vlan), []).append(open_port(device))
    of_port = {port: vlan for vlan, ports in vlans.items() for port in ports}
    events = selectors.DefaultSelector()
    for port in (trunk, *of_port):
        events.register(port, selectors.EVENT_READ)
    print("switching", flush=True)
    while True:
        for key, _ in events.select():
            port = key.fileobj
            frame, vlan = receive(port)
            if port is trunk:
                for member in vlans.get(vlan, []):
                    member.send(frame)
            else:
                # A frame that a member tagged itself goes to the trunk as it is: the node must refuse it.
                vlan = of_port[port]
                tag = struct.pack(">HH", 0x8100, vlan) if vlan else b""
                trunk.send(frame[:12] + tag + frame[12:])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
