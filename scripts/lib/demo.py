"""The demo: three nodes, an Internet host and two tasks. See scripts/demo."""

import hashlib
import os
import signal
import sys
import time

import packets
from lab import Lab
from reference import GATEWAY, INET, L1, L2, T1, T1_MAC, T2, Network
from traffic import Pings
from wait import Failed, Skipped, expect, until

# Against what hangs; it takes half a minute.
LIMIT_S = 900
UNKNOWN = "2001:db8:dddd:0:2000::77"
NAMES = {INET: "Iaddr", T1: "SIR:T1", T2: "SIR:T2", packets.ila(T1, L1): "L1:T1", packets.ila(T2, L2): "L2:T2"}


def step(title, *words):
    print(f"\n== {title}")
    for line in words:
        print(f"   {line}")
    sys.stdout.flush()


def show(text):
    for line in text.rstrip().splitlines():
        print(f"     | {line}")
    sys.stdout.flush()


def right(text):
    print(f"   ok  {text}", flush=True)


def picture():
    print(
        f"""
ilagate: tasks have addresses that never change (SIR prefix : identifier). On the wire of the data center the upper
half of a destination says where the task is (locator : identifier). The nodes rewrite these 64 bits; nobody else
knows of it.

      Internet host                gateway            fabric (a Linux router)           NVE1 -- task T1
      {INET}  ------  [ilagate gw]  ---------  fd00:f::/32  ---------<
                                                                                        NVE2 -- task T2

      T1 = {T1}   at locator L1 = {L1}
      T2 = {T2}   at locator L2 = {L2}"""
    )


def reachable(net):
    step(
        "Pings between Linux stacks",
        "The Internet host and the tasks run the plain Linux kernel. Each task has its SIR address and nothing else;",
        "its default route came by Router Advertisement from its NVE.",
    )
    show(net.t1.run("ip -6 -br addr show dev eth0 scope global") + net.t1.run("ip -6 route show default"))
    for ns, to, what in (
        (net.inet, GATEWAY, "Internet host -> the gateway's own address"),
        (net.inet, T1, "Internet host -> T1"),
        (net.t2, INET, "T2 -> Internet host"),
        (net.t1, T2, "T1 -> T2, on another host"),
    ):
        ns.reaches(to, 5)
        right(what)


def scenario(net, title, sender, receiver, wire, to, lines, meaning):
    points = [(sender, "eth0"), wire, (receiver, "eth0")]
    captures = [ns.capture(device, "icmp6 and ip6[40] == 128") for ns, device in points]
    sent = sender.reaches(to, 1)
    print(f"\n   {title}")
    for place, capture, line in zip(("sender", "fabric", "receiver"), captures, lines):
        found = packets.ipv6(capture.frames(at_least=1))
        expect(len(found) <= sent, f"{title}: {len(found)} packets captured at the {place}")
        for packet in found:
            expect(packet.addresses() == line, f"{title}: {packet.addresses()} at the {place}, not {line}")
            expect(packet.checksum_is_right(), f"{title}: wrong checksum at the {place}")
        text = ",".join(NAMES[address] for address in line)
        print(f"     {place:9} {text:16} {line[0]} > {line[1]}", flush=True)
    right(meaning)


def scenarios(net):
    step(
        "One packet each of scenarios 1, 2 and 3 of the ILA draft (section 5)",
        "tcpdump at the sender, in the fabric and at the receiver. Every line is compared with the draft's, and the",
        "ICMPv6 checksum must be right at all three (checksum-neutral mapping, bit C of the identifier).",
    )
    expect("L1" in NAMES[packets.ila(T1, L1)], "names")
    scenario(
        net, "Scenario 1: task to task", net.t1, net.t2, (net.fab, "nve1"), T2,
        [(T1, T2), (T1, packets.ila(T2, L2)), (T1, T2)],
        "only the fabric sees the locator; T2 gets what T1 sent",
    )  # fmt: skip
    scenario(
        net, "Scenario 2: task to Internet", net.t1, net.inet, (net.fab, "nve1"), INET,
        [(T1, INET)] * 3,
        "nothing is translated: a SIR address is routable as it is",
    )  # fmt: skip
    scenario(
        net, "Scenario 3: Internet to task", net.inet, net.t1, (net.fab, "gw"), T1,
        [(INET, T1), (INET, packets.ila(T1, L1)), (INET, T1)],
        "the gateway writes the locator, the NVE takes it away",
    )  # fmt: skip


def tcp(net):
    step(
        "TCP: a file from task T1, its checksum compared at the other end",
        "curl at the Internet host and in T2 fetch 32 MiB from a web server in T1; the receivers' kernels verify every",
        "TCP checksum, and count those that are wrong.",
    )
    directory = net.lab.path("www")
    os.mkdir(directory)
    data = os.urandom(32 << 20)
    with open(os.path.join(directory, "file"), "wb") as file:
        file.write(data)
    digest = hashlib.sha256(data).hexdigest()
    server = net.t1.spawn(
        ["/usr/bin/python3", "-m", "http.server", "8080", "--bind", T1, "--directory", directory]
    )
    until(lambda: ":8080" in net.t1.run("ss -Hltn"), "the web server")
    for ns in (net.inet, net.t2):
        out = net.lab.path(f"got-{ns.name}")
        began = time.monotonic()
        ns.run(["curl", "-sSfg", "-m", "200", "-o", out, f"http://[{T1}]:8080/file"], timeout=210)
        took = time.monotonic() - began
        got = net.lab.host(["sha256sum", out]).stdout.split()[0]
        os.unlink(out)
        expect(got == digest, f"{ns.name}: sha256 {got}, not {digest}")
        wrong = ns.counters()["TcpInCsumErrors"]
        expect(wrong == 0, f"{ns.name}: {wrong} segments with a wrong checksum")
        right(f"{ns.name:4} <- T1  32 MiB in {took:.1f} s, sha256 {got[:16]}…, 0 wrong TCP checksums")
    server.stop(signal.SIGINT)
    step("iperf3: three seconds each way between the Internet host and T2, at most 300 Mbit/s")
    for words in ([], ["-R"]):
        server = net.t2.spawn(["iperf3", "-6", "-s", "-1", "-B", T2])
        until(lambda: ":5201" in net.t2.run("ss -Hltn"), "iperf3")
        text = net.inet.run(["iperf3", "-6", "-c", T2, "-t", "3", "-b", "300M", *words])
        expect(server.wait() == 0, "the iperf3 server failed")
        line = [line for line in text.splitlines() if "receiver" in line]
        expect(line, f"iperf3 measured nothing:\n{text}")
        show(line[0])
    right("both directions carried traffic")


def traceroutes(net):
    step(
        "traceroute",
        "Routers in the fabric answer with ICMPv6 errors that quote the packet as it was on the wire, with a locator.",
        "The sender would not know it. The nodes translate the quoted packet back, so unmodified traceroute works.",
    )
    ways = [
        (net.inet, "Internet host", T1, [GATEWAY, "fd00:f::ff", "fd00:f:1::1", T1]),
        (net.t1, "T1", T2, ["fd00:f:1::1", "fd00:f:1::ff", "fd00:f:2::1", T2]),
        (net.t1, "T1", INET, ["fd00:f:1::1", "fd00:f:1::ff", "fd00:f::1", INET]),
    ]
    for ns, name, to, expected in ways:
        for kind in ([], ["-I"]):
            text = ns.traces(to, expected, *kind)
        print(f"   {name} -> {NAMES[to]}")
        show("\n".join(text.splitlines()[1:]))
        right("every hop answered, over UDP and over ICMPv6 (shown)")


def unknown(net):
    step(
        "An identifier that has no mapping",
        "The gateway says so to the sender, and counts it under a name.",
    )
    before = net.gw.drops().get("no_mapping", 0)
    text = net.inet.refused(UNKNOWN, "nreachable")
    show(next(line for line in text.splitlines() if "nreachable" in line))
    expect(net.gw.counts("no_mapping", 1, before) == 1, "the drop is not counted once as no_mapping")
    show(net.gw.ctl("drops"))
    right("told to the sender, counted as no_mapping")


FATES = ("forwarded", "replied", "punted", "dropped")


def fates(node, port):
    """Received, fates and waiting of a port; a scrape may fall into the middle of a burst, so it may take several."""
    labels = f'worker="0",port="{port}"'

    def counted():
        samples = node.metrics()
        received = samples[f"ilagate_received_packets_total{{{labels}}}"]
        parts = [samples[f'ilagate_packets_total{{{labels},fate="{fate}"}}'] for fate in FATES]
        parts.append(samples[f"ilagate_waiting_packets{{{labels}}}"])
        return received == sum(parts) and [received, *parts]

    return until(counted, f"{node.ns.name} {port}: received = {' + '.join(FATES)} + waiting", step=0.1)


def counters(net):
    step("The Prometheus endpoint of each node, as curl gets it", "Every packet received has exactly one fate.")
    print(f"   {'node':6}{'port':10}" + "".join(f"{name:>10}" for name in ("received", *FATES, "waiting")))
    for node in net.nodes:
        for port in [port["name"] for port in node.config["ports"]]:
            counted = fates(node, port)
            print(f"   {node.ns.name:6}{port:10}" + "".join(f"{value:10.0f}" for value in counted))
            expect(counted[0] > 0, f"{node.ns.name} {port}: nothing received")
    right("received = forwarded + replied + punted + dropped + waiting, on every port")


def move(net):
    step(
        "T1 moves from NVE1 to NVE2 while the Internet host pings it 50 times a second",
        "Its address stays. NVE2 gets an attachment and NVE1 loses one (ilactl node reload), T1's link is plugged into",
        "the other host's switch, and one mapping is changed at the gateway and at NVE1 (ilactl mapping add).",
    )
    every_s = 0.02
    wires = [net.fab.capture(leg, f"icmp6 and ip6[40] == 128 and src {INET}") for leg in ("nve1", "nve2")]
    pings = Pings(net.inet, T1, every_s)
    until(lambda: pings.counted()[1] >= 100, "answers before the move")
    net.nve2.config["attachments"].append(Network.attachment("task1", T1, T1_MAC))
    show(net.nve2.reload())
    asked_before = pings.counted()[0]
    net.move(net.t1, net.nve1, net.nve2)
    net.nve1.config["attachments"] = []
    show(net.nve1.reload())
    for node in (net.gw, net.nve1):
        show(f"{node.ns.name}: " + node.ctl("mapping", "add", T1, "--locator", L2))
    asked, answered = pings.counted()
    meanwhile = asked - asked_before
    until(lambda: pings.counted()[1] >= answered + 100, "answers after the move")
    asked, answered = pings.end()
    show("\n".join(pings.process.output().splitlines()[-2:]))
    before, after = (packets.ipv6(wire.frames()) for wire in wires)
    print(f"   {len(before)} packets went to NVE1 (as {NAMES[packets.ila(T1, L1)]}), {len(after)} to NVE2 (as L2:T1)")
    moved = packets.ila(T1, L2)
    expect(before and all(p.destination == packets.ila(T1, L1) for p in before), "packets to NVE1 have another address")
    expect(after and all(p.destination == moved for p in after), "packets to NVE2 have another address")
    lost = asked - answered
    expect(lost <= meanwhile + 25, f"{lost} lost, and only {meanwhile} sent between the link's move and the mapping's")
    net.inet.reaches(T1, 5)
    net.t2.reaches(T1, 5)
    right(f"traffic followed, {lost} of {asked} packets lost at the moment of the move; T1 answers from NVE2")
    show(net.gw.ctl("mapping", "list"))


def end(net):
    step("SIGTERM to the three nodes", "Each sends what it still has, gives every buffer back, and exits with 0.")
    net.stop()
    right("three times exit status 0, every mbuf is back")


def run(demonstrate):
    """Runs a demo in a laboratory of its own, within the time that it has; the exit status."""

    def late(_number, _frame):
        raise Failed(f"not done after {LIMIT_S} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    try:
        with Lab("ilad") as lab:
            demonstrate(lab)
    except (Failed, Skipped) as why:
        sys.stdout.flush()
        print(f"\ndemo: FAILED: {why}", file=sys.stderr)
        return 1
    print("\ndemo: ok")
    return 0


def main():
    began = time.monotonic()

    def late(_number, _frame):
        raise Failed(f"not done after {LIMIT_S} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    picture()
    with Lab("ilademo") as lab:
        net = Network(lab)
        for part in (reachable, scenarios, tcp, traceroutes, unknown, counters, move, end):
            part(net)
    print(f"\n{time.monotonic() - began:.0f} s; namespaces, processes and files are gone")
    print("demo: ok")


if __name__ == "__main__":
    try:
        main()
    except (Failed, Skipped) as why:
        sys.stdout.flush()
        print(f"\ndemo: FAILED: {why}", file=sys.stderr)
        sys.exit(1)
