"""Who lost a packet: the node, or the machine that it runs on.

A busy machine keeps a worker from running, and the ring between the kernel and `net_af_packet` overflows meanwhile.
DPDK 22.11 does not count that for this device (`rx_missed_errors` stays 0), but the kernel counts what it received on
the interface. What it received there and the device did not hand over was lost between the two. It is the machine's
loss if the scheduler kept the worker waiting long enough, and the node's otherwise. All that the node itself counts as
lost is the node's loss.
"""

import ctypes
import glob
import os
import re
import threading
import time

from wait import PATIENCE_S, Busy, Disturbed, Failed, Lost, comes, expect

# By how much slower than meant each attempt is: who gets little of the processors cannot carry much.
ATTEMPTS = (1, 2, 4)
FATES = ("forwarded", "replied", "punted", "dropped", "waiting")
# What Linux stacks say to everybody on a link is nobody's loss. Nor is what they say in IPv4 where there are no tenants:
# all packets that tests count on such links are IPv6.
CHATTER = ("multicast", "nd_not_for_us", "unknown_ethertype")
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def read_in(namespace, *names):
    """Files of /proc/net as a network namespace shows them."""
    texts = []

    def enter_and_read():
        with open(f"/run/netns/{namespace}") as file:
            if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
                return
        for name in names:
            with open(f"/proc/thread-self/net/{name}") as file:
                texts.append(file.read())

    # The thread takes the namespace with it when it ends.
    thread = threading.Thread(target=enter_and_read)
    thread.start()
    thread.join()
    if len(texts) != len(names):
        raise Failed(f"{namespace}: cannot read {names}")
    return texts


def stack(namespace):
    """The counters of a stack by the names that nstat gives them."""
    snmp, netstat, snmp6 = read_in(namespace, "snmp", "netstat", "snmp6")
    counters = {}
    for text in (snmp, netstat):
        lines = [line.split() for line in text.splitlines()]
        for names, values in zip(lines[::2], lines[1::2]):
            group = names[0].rstrip(":")
            counters.update((group + name, int(value)) for name, value in zip(names[1:], values[1:]))
    for line in snmp6.splitlines():
        name, value = line.split()
        counters[name] = int(value)
    return counters


def devices(namespace):
    """(packets received, packets dropped before anybody saw them) by device."""
    (text,) = read_in(namespace, "dev")
    rows = (line.split(":") for line in text.splitlines()[2:])
    columns = {name.strip(): [int(word) for word in rest.split()] for name, rest in rows}
    return {name: (row[1], row[3]) for name, row in columns.items()}


def waits(pattern, directories):
    """How long the scheduler kept each thread with such a name from running, in seconds, by its directory in /proc."""
    found = {}
    for path in directories:
        try:
            with open(f"{path}/comm") as name, open(f"{path}/schedstat") as file:
                if re.fullmatch(pattern, name.read().strip()):
                    found[path] = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            pass
    return found


def longest(now, before):
    """The longest that one of them was kept waiting in between."""
    return max((wait - before.get(path, 0) for path, wait in now.items()), default=0)


def stolen_s():
    """How long the hypervisor kept this machine's processors to itself."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


class NodeBooks:
    """What a node, its devices and the scheduler counted."""

    def __init__(self, node):
        self.name = node.ns.name
        self.ports = {port["name"]: port for port in node.show("port", "list", "--xstats")}
        self.drops = node.drops()
        kernel = devices(node.ns.full)
        self.kernel = {}
        for name, port in self.ports.items():
            interface = re.search(r"net_af_packet.*\biface=([^,]+)", port["device"])
            if interface:
                self.kernel[name] = kernel[interface[1]][0]
        tasks = glob.glob(f"/proc/{node.process.popen.pid}/task/*")
        self.waits = waits(r"ilagate-w\d+", tasks)

    def counted(self, port, what):
        return self.ports[port]["counters"][what]

    def at_rest(self, earlier):
        waiting = any(self.counted(port, "waiting") for port in self.ports)
        return not waiting and self.kernel == earlier.kernel and all(
            self.counted(port, "received") == earlier.counted(port, "received") for port in self.ports
        )  # fmt: skip

    def own_losses(self, before, drops_are_meant):
        """What the node itself says it lost since then, and where its books do not hold."""
        found = []
        for name, port in self.ports.items():
            was = before.ports[name]
            grown = lambda what: self.counted(name, what) - before.counted(name, what)  # noqa: E731, B023
            received, fates = grown("received"), {fate: grown(fate) for fate in FATES}
            if received != sum(fates.values()):
                found.append(f"{name}: {received} received, {fates}")
            if port["unsent"] != was["unsent"]:
                found.append(f"{name}: {port['unsent'] - was['unsent']} unsent")
            xstats, earlier = dict(port["xstats"]), dict(was["xstats"])
            for counter in ("rx_errors", "rx_mbuf_allocation_errors", "tx_errors"):
                if xstats[counter] != earlier[counter]:
                    found.append(f"{name}: {counter} {xstats[counter] - earlier[counter]}")
            device = xstats["rx_good_packets"] - earlier["rx_good_packets"]
            if device != received:
                found.append(f"{name}: its device handed over {device} packets, and {received} are counted")
        for reason, count in self.drops.items():
            more = count - before.drops.get(reason, 0)
            if more and reason not in CHATTER and not drops_are_meant:
                found.append(f"{more} dropped as {reason}")
        return found

    def missed(self, before):
        """Packets that the kernel received for the node's devices and these did not hand over."""
        grown = lambda port: self.counted(port, "received") - before.counted(port, "received")  # noqa: E731
        return {port: kernel - before.kernel[port] - grown(port) for port, kernel in self.kernel.items()}


class Books:
    """What all nodes and stacks of a laboratory have counted by now."""

    def __init__(self, lab):
        self.lab, self.at = lab, time.monotonic()
        running = [node for node in lab.nodes if node.process and node.process.alive() and os.path.exists(node.socket)]
        self.nodes = {node: NodeBooks(node) for node in running}
        self.dropped, self.sockets = {}, {}
        for ns in lab.namespaces:
            self.dropped.update({f"{ns.name} {name}": seen[1] for name, seen in devices(ns.full).items()})
            counters = stack(ns.full)
            self.sockets[ns.name] = counters["UdpRcvbufErrors"] + counters["Udp6RcvbufErrors"]
        self.waits, self.stolen_s = waits(r"ksoftirqd/\d+", glob.glob("/proc/[0-9]*")), stolen_s()

    def kept_waiting_s(self, now):
        """How long each node's packets were kept waiting for a processor: by its workers and by the kernel."""
        kernel = longest(now.waits, self.waits) + now.stolen_s - self.stolen_s
        return {node: longest(books.waits, self.nodes[node].waits) + kernel for node, books in now.nodes.items()}

    @classmethod
    def at_rest(cls, lab, timeout):
        """The books once nothing moves any more, or after so long; and whether nothing does. What waits in a ring is
        counted by the kernel and not yet by the node."""
        seen = [cls(lab)]

        def still():
            seen.append(cls(lab))
            return all(books.at_rest(seen[-2].nodes[node]) for node, books in seen[-1].nodes.items())

        rests = comes(still, timeout, step=0.2)
        return seen[-1], rests

    def later(self):
        """The books of the same laboratory at rest."""
        books, rests = Books.at_rest(self.lab, 2 * PATIENCE_S)
        expect(rests, f"waited {2 * PATIENCE_S} s in vain for the nodes to come to rest")
        return books

    def blame(self, lost, drops_are_meant):
        """How the machine lost these packets since the books were opened; fails if it was the node, or nobody did."""
        seconds, now = time.monotonic() - self.at, self.later()
        own, known, words = [], 0, []
        if now.nodes.keys() != self.nodes.keys():
            raise Failed(f"{lost}, and other nodes run than before")
        for node, waited in self.kept_waiting_s(now).items():
            books, before = now.nodes[node], self.nodes[node]
            own += [f"{books.name} {loss}" for loss in books.own_losses(before, drops_are_meant)]
            for port, missed in books.missed(before).items():
                where = f"{books.name} {port}"
                # Twice the mean rate: attempts begin and end with pauses.
                if missed > 2 * lost.sent / seconds * waited:
                    own.append(f"{where}: {missed} missed although its workers waited {waited:.3f} s only")
                elif missed > 0:
                    known += missed
                    words.append(f"{where} missed {missed} while its workers were kept waiting {waited:.3f} s")
        for what, later, earlier in (
            ("the kernel dropped on the way to", now.dropped, self.dropped),
            ("sockets overflowed in", now.sockets, self.sockets),
        ):
            for place, count in later.items():
                if more := count - earlier.get(place, count):
                    known += more
                    words.append(f"{what} {place}: {more}")
        if own:
            raise Failed(f"{lost}; the node's: {', '.join(own)}")
        if known < lost.missing:
            found = f"the machine lost {known} of these ({', '.join(words)})"
            raise Failed(f"{lost}; {found}, and no counter knows the rest")
        return ", ".join(words)


def undisturbed(lab, attempt, what, drops_are_meant=False):
    """Runs `attempt(1)`, which may raise `Lost` or `Disturbed`. What the machine disturbed is tried again, at half the
    speed, `attempt(2)`, and at a quarter of it, `attempt(4)`; the log says so.

    What the node lost, or nobody knows of, fails at once. If all attempts were disturbed, nothing can be said: `Busy`.
    `drops_are_meant`: the node is to drop packets meanwhile.
    """
    for number, slower in enumerate(ATTEMPTS, 1):
        # Other traffic of the test may go on all the time.
        books, _ = Books.at_rest(lab, 3)
        try:
            return attempt(slower)
        except Lost as lost:
            why = f"{lost}; {books.blame(lost, drops_are_meant)}"
        except Disturbed as disturbed:
            why = str(disturbed)
        print(f"    disturbed, attempt {number} of {len(ATTEMPTS)}: {what}: {why}", flush=True)
    raise Busy(f"this machine is too busy: {what} was disturbed {len(ATTEMPTS)} times")
