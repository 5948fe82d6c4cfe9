"""Traffic of Linux stacks and what became of it: pings, traces, flows of datagrams.

How many answers came is asked of the stack, not of the program: ping ends before a late answer comes, and the stack
counts it all the same. What is sent is paced and bounded, also when the sender itself was held up: nothing here
overflows the rings of the nodes' devices by itself.
"""

import signal

from books import stack, undisturbed
from wait import PATIENCE_S, Disturbed, Failed, Lost, comes, expect, until

# A sender that was held up makes up for it with so many packets at once, and pauses before the next ones.
BURST, PAUSE_S = 16, 0.005
# At 1,000 a second, say: 5 packets are due after each pause.
PACED = f"""
import time
def paced(rate):
    start, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - start) * rate) + 1
        for _ in range(min({BURST}, due - sent)):
            yield sent
            sent += 1
        time.sleep({PAUSE_S})
"""


def family(address):
    return 6 if ":" in address else 4


def echoes(ns, version):
    """Echo requests that the stack sent, and replies that it received."""
    counters = stack(ns.full)
    names = ("Icmp6OutEchos", "Icmp6InEchoReplies") if version == 6 else ("IcmpOutEchos", "IcmpInEchoReps")
    return tuple(counters[name] for name in names)


class Pings:
    """A running ping; `end` tells what became of it."""

    def __init__(self, ns, to, interval):
        self.ns, self.to, self.version = ns, to, family(to)
        self.before = echoes(ns, self.version)
        self.process = ns.spawn(["ping", f"-{self.version}", "-n", "-q", "-i", interval, to])
        until(lambda: self.counted()[1] > 0 or not self.process.alive(), f"{to} to answer")

    def counted(self):
        """Requests and answers up to now."""
        return tuple(now - before for now, before in zip(echoes(self.ns, self.version), self.before))

    def end(self):
        """Requests and answers, when the last answer had time to come."""
        expect(self.process.alive(), f"ping ended by itself:\n{self.process.output()}")
        self.process.stop(signal.SIGINT)
        comes(lambda: self.counted()[0] <= self.counted()[1], 5)
        asked, answered = self.counted()
        expect(answered <= asked, f"{answered} answers to {asked} requests")
        return asked, answered


class Traffic:
    """What a namespace with a Linux stack can send and see."""

    def ping(self, to, count=1, interval=0.1, wait=5, extra=()):
        """Pings; requests sent, answers received, and what ping says. An error ends the wait."""
        version = family(to)
        before = echoes(self, version)
        words = ["ping", f"-{version}", "-n", "-c", count, "-i", interval, "-W", wait, *extra, to]
        _, text = self.status(words, timeout=count * interval + wait + PATIENCE_S)
        asked, answered = (now - then for now, then in zip(echoes(self, version), before))
        return asked, answered, text

    def answered(self, to, **more):
        """Whether one ping is answered soon."""
        return self.ping(to, 1, wait=1, **more)[1] == 1

    def reaches(self, to, count=3, interval=0.1, **more):
        """Pings, all of which must be answered; how many were sent in all, with those that the machine lost."""
        sent = 0

        def attempt(slower):
            nonlocal sent
            version = family(to)
            before = echoes(self, version)
            asked, _, text = self.ping(to, count, interval * slower, **more)
            sent += asked
            if asked != count or " errors" in text:
                raise Failed(f"{self.name} pings {to}: {asked} of {count} requests sent\n{text}")
            replies = lambda: echoes(self, version)[1] - before[1]  # noqa: E731
            comes(lambda: replies() >= asked, 5)
            if (came := replies()) < asked:
                raise Lost(f"{self.name} pings {to}", asked, came)
            expect(came == asked, f"{self.name} pings {to}: {came} answers to {asked} requests")

        undisturbed(self.lab, attempt, f"{self.name} pings {to}")
        return sent

    def refused(self, to, words, **more):
        """One ping, which is answered by an error: ping says so in these words."""
        _, answered, text = self.ping(to, 1, wait=PATIENCE_S, **more)
        expect(answered == 0 and words in text, f"{self.name} pings {to}, to be told `{words}`:\n{text}")
        return text

    def silent(self, to, count=1, **more):
        """Pings that nobody answers."""
        asked, answered, text = self.ping(to, count, wait=0.5, **more)
        expect(asked == count and answered == 0, f"{self.name} pings {to}: {asked} sent, {answered} answered\n{text}")

    def traces(self, to, expected, *kind):
        """Traceroute shows these hops, of which None stands for any address; what it prints."""
        version = family(to)
        words = ["traceroute", f"-{version}", "-n", "-q", 1, "-w", 5, "-m", 8, "-N", 1, *kind, to]
        prefix = "Icmp6" if version == 6 else "Icmp"
        replies = "InEchoReplies" if version == 6 else "InEchoReps"
        names = [prefix + "InTimeExcds", prefix + "InDestUnreachs", prefix + replies, "TcpInSegs"]

        def heard():
            counters = stack(self.full)
            return sum(counters[name] for name in names)

        def attempt(_):
            before = heard()
            text = self.run(words, check=False, timeout=90)
            came = heard() - before
            hops = [line.split()[1] for line in text.splitlines()[1:]]
            right = [hop != "*" and want in (None, hop) for hop, want in zip(hops, expected)]
            if len(hops) == len(expected) and all(right):
                return text
            what = f"{self.name} traces {to} {' '.join(kind)}: {hops}, not {expected}"
            # A probe without an answer is shown as `*`; beyond the last hop the destination answers again.
            wanted = expected + expected[-1:] * len(hops)
            for hop, want in zip(hops, wanted):
                expect(hop == "*" or want in (None, hop), f"{what}\n{text}")
            if came >= len(hops):
                raise Disturbed(f"{what}, although {came} answers came to its stack")
            raise Lost(what, len(hops), came)

        return undisturbed(self.lab, attempt, f"{self.name} traces {to}")


class Flows:
    """UDP packets of many flows from a namespace: source ports tell them apart."""

    def __init__(self, ns, source, to):
        self.ns, self.source, self.to = ns, source, to

    def send(self, ports, each=1, rate=2000):
        ports = list(ports)
        code = PACED + (
            "import socket\n"
            f"ports = {ports!r}\n"
            f"for n in paced({rate}):\n"
            f"  if n == {each * len(ports)}: break\n"
            "  s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
            f"  s.bind(({self.source!r}, ports[n % {len(ports)}]))\n"
            f"  s.sendto(b'flow', ({self.to!r}, 9))\n"
            "  s.close()\n"
        )
        self.ns.run(["/usr/bin/python3", "-c", code], timeout=PATIENCE_S + 10 * each * len(ports) / rate)


RECEIVER = """
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
s.bind(({to!r}, 7002)); s.settimeout(0.2); print('listening', flush=True)
seen, again, told = set(), 0, None
while True:
    try:
        n, = struct.unpack_from('!I', s.recv(65536))
        again += n in seen; seen.add(n)
    except TimeoutError: pass
    else:
        if len(seen) < {count}: continue
    if told != (told := (len(seen), again)): print('got', *told, flush=True)
"""

SENDER = PACED + """
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.connect(({to!r}, 7002))
for n in paced({rate}):
    if n == {count}: break
    s.send(struct.pack('!I', n) + bytes({size} - 4))
"""


def datagrams(sender, receiver, to, count, rate, size=1250):
    """Sends numbered datagrams by IPv6, so many a second; each must arrive, and once."""
    wanted = f"got {count} 0"
    server = receiver.spawn(["/usr/bin/python3", "-c", RECEIVER.format(to=to, count=count)])
    server.wait_for("listening")
    code = SENDER.format(to=to, count=count, rate=rate, size=size)
    sender.run(["/usr/bin/python3", "-c", code], timeout=PATIENCE_S + 10 * count / rate)
    comes(lambda: wanted in server.output(), 5)
    server.stop()
    arrived, again = (int(word) for word in server.output().split()[-2:])
    expect(again == 0, f"{again} datagrams came to {to} more than once")
    if arrived < count:
        raise Lost(f"datagrams from {sender.name} to {to}", count, arrived)
