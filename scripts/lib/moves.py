"""The network in which tenants move: three hosts and an authority. A machine has a cable to each of two hosts.

    vm --+-- nve1 --\\
          \\-- nve2 ---- fab (IPv6 router and Internet host) ---- nve3 -- peer, blue
    local ---- nve2

A machine is a namespace with a bridge that has the machine's MAC address and addresses. Its cables end at the bridge: to
plug one in is to make it a port of the bridge, as a hypervisor does with a guest's interface. No node's file names a
tenant.
"""

import json
import signal
import time
import typing

from lab import SIR, binary
from nva import Authority, follow
from reference import short, task_up
from traffic import PACED
from wait import expect, until

INET = "2001:db8:1::2"
LOCATORS = {"nve1": "fd00:1:0:1::/64", "nve2": "fd00:1:0:2::/64", "nve3": "fd00:1:0:3::/64"}
VNETS = {"red": ("2001:db8:a::", 100), "blue": ("2001:db8:b::", 200)}
GATEWAY4, ANYCAST, ROUTER = "10.0.0.254", "02:00:5e:00:00:01", "fe80::5eff:fe00:1"
# Name: network, hosts that it has a cable to, last part of its addresses.
MACHINES = {
    "vm": ("red", ("nve1", "nve2"), 1),
    "peer": ("red", ("nve3",), 2),
    "local": ("red", ("nve2",), 3),
    "blue": ("blue", ("nve3",), 4),
}
TASK = short(f"{SIR}2000::5")
POLICIES = [("red", "blue"), ("blue", "red"), ("red", "outside"), ("outside", "red")]


# What comes while a worker waits for its processor, which it shares with all of the laboratory and with whoever else is
# busy on this machine, must find room.
RING = "framecnt=4096"


def vtep(nve):
    return f"fd00:f:{nve[-1]}::1"


class Machine:
    """A tenant's machine, or a task."""

    def __init__(self, lab, name, number, addresses):
        self.ns, self.name, self.addresses = lab.ns(name), name, addresses
        self.mac = f"02:00:00:00:02:{number:02x}"
        self.ns.run("ip link add eth0 type bridge forward_delay 0 mcast_snooping 0")
        self.ns.run(f"ip link set eth0 address {self.mac} up")

    def cable(self, lab, host):
        """A link to a host, which is not plugged in."""
        device = f"to-{host.name}"
        lab.wire(self.ns, device, host, self.name)
        self.ns.only_switches(device)
        return device

    def plug(self, nve):
        self.ns.run(f"ip link set to-{nve} master eth0")

    def unplug(self, nve):
        self.ns.run(f"ip link set to-{nve} nomaster")

    def start(self, nve, plen):
        """It runs at a host."""
        self.plug(nve)
        self.ns.run(f"ip addr add {self.addresses[0]}/24 dev eth0")
        self.ns.run(f"ip -6 addr add {self.addresses[1]}/{plen} dev eth0 nodad")
        self.ns.run(f"ip route add default via {GATEWAY4}")

    def has_router(self):
        return f"default via {ROUTER}" in self.ns.run("ip -6 route show default")

    def announce(self, how="arp"):
        """What a hypervisor or a guest says after a migration: gratuitous ARP, unsolicited NA, or RARP (opcode 3)."""
        self.ns.run(["/usr/bin/python3", "-c", ANNOUNCE, how, self.mac, *self.addresses])


ANNOUNCE = """
import ipaddress, socket, struct, sys
how, mac, addresses = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), sys.argv[3:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0))
def csum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
for address in map(ipaddress.ip_address, addresses):
    a = address.packed
    if how == "arp" and address.version == 4:
        body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac + a + bytes(6) + a
        s.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + body.ljust(46, b"\\0"))
    if how == "na" and address.version == 6:
        all_nodes = ipaddress.ip_address("ff02::1").packed
        na = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + a + b"\\x02\\x01" + mac
        pseudo = a + all_nodes + struct.pack("!II", len(na), 58)
        na = na[:2] + struct.pack("!H", csum(pseudo + na)) + na[4:]
        head = struct.pack("!IHBB", 0x60000000, len(na), 58, 255) + a + all_nodes
        s.send(b"\\x33\\x33\\0\\0\\0\\x01" + mac + b"\\x86\\xdd" + head + na)
if how == "rarp":
    body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 3) + mac + bytes(4) + mac + bytes(4)
    s.send(b"\\xff" * 6 + mac + b"\\x80\\x35" + body.ljust(46, b"\\0"))
"""


STREAM_RECEIVER = """
import signal, socket, struct, sys, time
to, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
s.bind((to, port)); s.settimeout(0.1)
seen, again, late, last, gap, ends = set(), 0, 0, None, 0.0, False
def end(*_):
    global ends
    ends = True
signal.signal(signal.SIGTERM, end); print("listening", flush=True)
while True:
    try: n, = struct.unpack_from("!I", s.recv(65536))
    except TimeoutError:
        if ends: break
        continue
    now = time.monotonic()
    if last is not None: gap = max(gap, now - last)
    last = now
    again += n in seen
    late += bool(seen) and n < newest
    newest = max(n, newest) if seen else n
    seen.add(n)
print("got", len(seen), again, late, round(gap * 1000, 1), flush=True)
"""

STREAM_SENDER = PACED + """
import signal, socket, struct, sys
to, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM); s.connect((to, port))
ends = False
def end(*_):
    global ends
    ends = True
signal.signal(signal.SIGTERM, end)
failed = 0
for n in paced(rate):
    if ends: break
    try: s.send(struct.pack("!I", n) + bytes(60))
    except OSError: failed += 1
print("sent", n, failed, flush=True)
"""


class Stream:
    """Numbered datagrams to a machine, so many a second, until `end`."""

    ports = iter(range(7100, 8000))

    def __init__(self, sender, machine, to, rate=1000):
        port = next(self.ports)
        self.receiver = machine.ns.spawn(["/usr/bin/python3", "-c", STREAM_RECEIVER, to, port])
        self.receiver.wait_for("listening")
        self.sender = sender.spawn(["/usr/bin/python3", "-c", STREAM_SENDER, to, port, rate])

    def end(self):
        """How many were sent and lost, came twice or late, and the longest time in milliseconds between two of them."""
        self.sender.stop(signal.SIGTERM)
        expect("sent" in self.sender.output(), f"the sender ended by itself:\n{self.sender.output()}")
        sent, failed = (int(word) for word in self.sender.output().split()[-2:])
        expect(failed == 0, f"the sender's stack refused {failed} of {sent} datagrams")
        time.sleep(0.5)
        self.receiver.stop(signal.SIGTERM)
        expect("got" in self.receiver.output(), f"the receiver ended by itself:\n{self.receiver.output()}")
        came, again, late, gap = self.receiver.output().split()[-4:]
        return Arrivals(sent, sent - int(came), int(again), int(late), float(gap))


class Arrivals(typing.NamedTuple):
    """What became of the datagrams of a stream."""

    sent: int
    lost: int
    again: int
    late: int
    gap_ms: float

    def __str__(self):
        what = f"{self.sent} sent, {self.lost} lost, {self.again} twice, {self.late} out of order"
        return f"{what}, longest gap {self.gap_ms} ms"


TRANSFER_RECEIVER = """
import hashlib, socket, sys
to, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET); s.bind((to, port)); s.listen(1)
print("listening", flush=True)
c, _ = s.accept(); got, md5 = 0, hashlib.md5(usedforsecurity=False)
while data := c.recv(65536): got += len(data); md5.update(data)
print("got", got, md5.hexdigest(), flush=True)
"""

TRANSFER_SENDER = """
import hashlib, signal, socket, sys, time
to, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
ends = False
def end(*_):
    global ends
    ends = True
signal.signal(signal.SIGTERM, end)
s = socket.create_connection((to, port)); s.settimeout(60)
began, sent, md5 = time.monotonic(), 0, hashlib.md5(usedforsecurity=False)
while not ends:
    piece = b"%016d" % sent * 1024
    s.sendall(piece); md5.update(piece); sent += len(piece)
    time.sleep(max(0, began + sent / rate - time.monotonic()))
s.close()
print("got", sent, md5.hexdigest(), flush=True)
"""


class Transfer:
    """A TCP connection to a machine with full segments, so many bytes a second, until `end`."""

    def __init__(self, sender, machine, to, rate=2 << 20):
        port = next(Stream.ports)
        self.receiver = machine.ns.spawn(["/usr/bin/python3", "-c", TRANSFER_RECEIVER, to, port])
        self.receiver.wait_for("listening")
        self.sender = sender.spawn(["/usr/bin/python3", "-c", TRANSFER_SENDER, to, port, rate])

    def end(self):
        """How many bytes came; all that were sent, or it fails."""
        self.sender.stop(signal.SIGTERM, timeout=60)
        sent = [line for line in self.sender.output().splitlines() if "got" in line]
        expect(sent, f"the connection broke:\n{self.sender.output()}")
        self.receiver.wait_for(sent[0])
        return int(sent[0].split()[1])


class MoveNetwork:
    """Builds all of it; `start` lets it run."""

    def __init__(self, lab, fabric_mtu=1600, moves=None, vm=Machine):
        """`vm` makes the machine that has a cable to two hosts."""
        self.lab = lab
        self.fab = lab.ns("fab").router()
        self.fab.run(f"ip -6 addr add {INET}/128 dev lo")
        hosts = {nve: lab.ns(nve).of_a_node() for nve in LOCATORS}
        self.machines = {
            name: (vm if name == "vm" else Machine)(lab, name, last, [f"10.0.0.{last}", f"{VNETS[network][0]}{last}"])
            for name, (network, _, last) in MACHINES.items()
        }
        self.machines["task"] = Machine(lab, "task", 5, [TASK])
        self.cables = {name: hosts_of for name, (_, hosts_of, _) in MACHINES.items()} | {"task": ("nve1", "nve2")}
        self.nodes = [self._node(nve, hosts[nve], fabric_mtu) for nve in LOCATORS]
        self.nve1, self.nve2, self.nve3 = self.nodes
        self.names = {node.ns.name: node.config["node"]["name"] for node in self.nodes}
        for nve, locator in LOCATORS.items():
            self.fab.addr(nve, f"fd00:f:{nve[-1]}::ff/64")
            self.fab.route(f"{locator} via {vtep(nve)}")
        for prefix in (f"{SIR}:/64", *(f"{prefix}/96" for prefix, _ in VNETS.values())):
            self.fab.route(f"{prefix} via {vtep('nve3')}")
        nves = {self.names[nve]: [locator] for nve, locator in LOCATORS.items()}
        self.nva = Authority(lab, self.fab, self.nodes[0].config["sir_domains"], nves)
        for entry, nve in zip(self.nva.config["nves"], LOCATORS):
            entry["vtep"] = vtep(nve)
            entry["networks"] = "all"
        if moves:
            self.nva.config["moves"] = moves
        for node in self.nodes:
            follow(node, self.nva)
            node.config["nva"]["provision"] = True
            node.config["node"]["state_dir"] = lab.path("state")

    def _node(self, nve, ns, fabric_mtu):
        number = int(nve[-1])
        self.lab.wire(ns, "fab", self.fab, nve, fabric_mtu)
        ports = [{"name": "fabric0", "device": f"net_af_packet0,iface=fab,{RING}", "role": "fabric", "mtu": fabric_mtu,
                  "addresses": [f"{vtep(nve)}/64"]}]  # fmt: skip
        here = [name for name, hosts in self.cables.items() if nve in hosts]
        for n, name in enumerate(here):
            self.machines[name].cable(self.lab, ns)
            ports.append({"name": name, "device": f"net_af_packet{n + 1},iface={name},{RING}", "role": "access"})
            if name == "task":
                ports[-1]["router_advertisement"] = {"interval_s": 4}
        return self.lab.node(
            ns, nve, number % 2, ports=ports, dpdk={"workers": [number % 2], "idle": "backoff", "huge": False, "memory_mib": 320},
            # What comes for a machine that is away for a second, at all the rates here together.
            mbufs={"count": 60000, "cache": 128}, moves={"hold_packets": 6000, "hold_bytes": 16 << 20},
            sir_domains=[{"name": "tasks", "prefix": f"{SIR}:/64", "vni": 7}],
            locators=[{"prefix": LOCATORS[nve], "domain": "tasks"}],
            routes=[{"prefix": "::/0", "via": f"fd00:f:{number}::ff", "port": "fabric0"}],
        )  # fmt: skip

    def start(self):
        self.nva.start()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.ready()
        for name, (prefix, vnid) in VNETS.items():
            self.asks("network", "add", "--file", "-", entry={
                "name": name, "vnid": vnid, "domain": "tasks", "mac": ANYCAST, "mtu": 1500,
                "ipv6": {"prefix": f"{prefix}/96", "gateway": f"{prefix}ffff:fffe"},
                "ipv4": [{"prefix": "10.0.0.0/24", "gateway": GATEWAY4}],
            })  # fmt: skip
        for source, to in POLICIES:
            self.asks("policy", "add", source, to)
        for name, (network, hosts, _) in MACHINES.items():
            machine = self.machines[name]
            addresses = [word for address in machine.addresses for word in ("--address", address)]
            self.asks("attachment", "add", self.names[hosts[0]], name, "--port", name, "--mac", machine.mac,
                      "--network", network, *addresses)  # fmt: skip
            machine.start(hosts[0], 96)
        task = self.machines["task"]
        self.asks("attachment", "add", self.names["nve1"], "--file", "-", entry={
            "name": "task", "port": "task", "mac": task.mac, "identifiers": [TASK],
        })  # fmt: skip
        task.plug("nve1")
        task_up(task.ns, TASK)
        for name in MACHINES:
            until(self.machines[name].has_router, f"{name} to learn its router")
        return self

    def command(self, *words):
        return [binary("ilactl"), "nva", "--nva", self.nva.endpoint, *words]

    def asks(self, *words, entry=None):
        """`ilactl nva …`, with an entry on its standard input."""
        return self.fab.run(self.command(*words), stdin=None if entry is None else json.dumps(entry))

    def vm(self, *words):
        """`ilactl vm …`."""
        return self.fab.run([binary("ilactl"), "vm", "--nva", self.nva.endpoint, *words])

    def move(self, name, old, new, mode="hot", *words):
        """Begins to move a machine, and waits until both hosts are ready."""
        names = ("--from", self.names[old], "--to", self.names[new], "--port", name, "--mode", mode)
        return self.vm("move", name, *names, *words)

    def losses(self):
        """What the nodes say of packets that were lost at them, for the reader of a failure."""
        yield from self.losses_of(*self.nodes)

    def losses_of(self, *nodes):
        for node in nodes:
            yield f"{node.ns.name}: {node.drops()}"
            words = ("unsent", "missed", "nombuf", "lost", "moves_packets")
            told = sorted(node.metrics().items())
            yield from (f"{key} {value:.0f}" for key, value in told if value and any(word in key for word in words))

    def moving(self):
        """Whether something moves."""
        rows = self.vm("list", "--moves").strip().splitlines()[1:]
        return rows

    def show(self, *words):
        return json.loads(self.asks("--json", *words))

    def stop(self):
        for node in self.nodes:
            node.stop()
        self.nva.stop()
