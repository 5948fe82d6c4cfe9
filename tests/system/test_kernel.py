"""The kernel of the host beside a node: on the interfaces of ports it neither answers nor forwards, and everything that
the node changed there is as before when the node is gone.

    task --acc0-- [host: node, web server, forwarding on] --up0-- uplink
                                    |
                                   fab0 -- fabric
"""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from lab import Lab, binary
from reference import L1, ROUTER_MAC, T1, T1_MAC
from wait import expect, need, until

# Others beside it would be in its measure.
ALONE = True

HOST4, HOST6 = "192.0.2.1", "2001:db8:99::1"
UPLINK4, UPLINK6 = "192.0.2.2", "2001:db8:99::2"
TASK4, OTHER4, OTHER6 = "198.51.100.77", "203.0.113.1", "2001:db8:77::1"
KEYS = [
    "ipv6/conf/{}/disable_ipv6", "ipv4/conf/{}/forwarding", "ipv4/conf/{}/rp_filter", "ipv4/conf/{}/arp_ignore",
]  # fmt: skip
SERVER = """
import http.server, socket
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class Host:
    """A host that serves and forwards, as hosts do, and a node on two of its interfaces."""

    def __init__(self, lab):
        self.lab, self.port = lab, 40000
        self.task, self.fabric, self.uplink = lab.ns("task"), lab.ns("fabric"), lab.ns("uplink")
        self.ns = lab.ns("host").of_a_node()
        lab.wire(self.ns, "acc0", self.task, "eth0")
        lab.wire(self.ns, "fab0", self.fabric, "nve1")
        lab.wire(self.ns, "up0", self.uplink, "eth0")
        self.task.run(f"ip link set eth0 address {T1_MAC}")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.ns.sysctl(key, 1)
        # What it answered in one round it does not answer once more in the next one.
        self.ns.sysctl("net.ipv4.tcp_synack_retries", 0)
        # Many hosts have this off, and it says most about the kernel's IPv4.
        for key in ("all", "default", "acc0", "fab0"):
            self.ns.sysctl(f"net.ipv4.conf.{key}.rp_filter", 0)
        self.ns.run(f"ip addr add {HOST4}/24 dev up0")
        self.ns.addr("up0", f"{HOST6}/64")
        self.ns.run(f"ip route add default via {UPLINK4}")
        self.ns.route(f"default via {UPLINK6} dev up0")
        # What the host sends leaves at once, and nobody out there answers.
        for address in (UPLINK4, UPLINK6):
            self.ns.run(f"ip neigh replace {address} lladdr {self.uplink.mac('eth0')} dev up0")
        self.fabric.addr("nve1", "fd00:f:1::ff/64")
        server = self.ns.spawn([sys.executable, "-c", SERVER])
        until(lambda: ":8080" in self.ns.run("ss -Hltn") or not server.alive(), "the web server")
        self.node = lab.node(
            self.ns, "nve1", 0,
            locators=[{"prefix": L1, "domain": "tasks"}],
            ports=[
                {"name": "fabric0", "device": "net_af_packet0,iface=fab0", "role": "fabric",
                 "addresses": ["fd00:f:1::1/64"]},
                {"name": "access0", "device": "net_af_packet1,iface=acc0", "role": "access",
                 "router_advertisement": {"interval_s": 4}},
            ],
            attachments=[{"name": "web", "port": "access0", "mac": T1_MAC, "identifiers": [T1]}],
            routes=[{"prefix": "::/0", "via": "fd00:f:1::ff", "port": "fabric0"}],
        )  # fmt: skip
        # Frames to the interface's own MAC address reach the kernel, if it listens.
        self.task.run(f"ip addr add {TASK4}/32 dev eth0")
        self.task.addr("eth0", f"{T1}/128")
        for address in (HOST4, OTHER4, HOST6, OTHER6):
            self.task.run(f"ip route replace {address} dev eth0")
            self.task.run(f"ip neigh replace {address} lladdr {self.ns.mac('acc0')} dev eth0")

    def settings(self):
        """Everything that a node changes, as it is."""
        read = lambda key, name: self.ns.run(["cat", f"/proc/sys/net/{key.format(name)}"]).strip()  # noqa: E731
        values = {f"{name} {key}": read(key, name) for name in ("acc0", "fab0") for key in KEYS}
        offloads = self.ns.run(["ethtool", "-k", "acc0"])
        values["offloads"] = [line for line in offloads.splitlines() if line.startswith("generic-receive-offload")]
        return values

    def answers(self):
        """What the host's kernel does with packets of the task: it answers there or by its uplink, or forwards. All are
        asked at the same time, because who gets no answer waits for it."""
        local = f"{self.link_local()}%eth0"
        # A port of its own for each connection: the kernel repeats its part of earlier ones for a minute.
        self.port += 3
        page, tcp4, tcp6 = range(self.port, self.port + 3)
        fetch = lambda url, port: self.task.status(  # noqa: E731
            ["curl", "-sfg", "-m", 2, "--local-port", port, "-o", "/dev/null", url])[0] == 0  # fmt: skip
        ping = lambda *words: self.task.status(["ping", "-c", 2, "-i", 0.2, "-W", 1, *words])[0] == 0  # noqa: E731

        def leaves(what, ask):
            capture = self.uplink.capture("eth0", what)
            ask()
            return bool(capture.frames())

        def connects(host, name, port):
            return leaves(f"tcp and src {host} and dst port {port}", lambda: fetch(f"http://{name}:8080/", port))

        asked = {
            "a page": lambda: fetch(f"http://[{local.replace('%', '%25')}]:8080/", page),
            "ping": lambda: ping(local),
            "ARP": lambda: self.task.status(["arping", "-c", 1, "-w", 2, "-I", "eth0", HOST4])[0] == 0,
            "TCP over IPv4": lambda: connects(HOST4, HOST4, tcp4),
            "TCP over IPv6": lambda: connects(HOST6, f"[{HOST6}]", tcp6),
            "ping over IPv4": lambda: leaves(f"icmp and src {HOST4}", lambda: ping(HOST4)),
            "ping over IPv6": lambda: leaves(f"icmp6 and ip6[40] == 129 and src {HOST6}", lambda: ping(HOST6)),
            "forwarding of IPv4": lambda: leaves(f"icmp and dst {OTHER4}", lambda: ping(OTHER4)),
            "forwarding of IPv6": lambda: leaves(f"icmp6 and dst {OTHER6}", lambda: ping(OTHER6)),
        }
        # What nobody answers takes its whole time, so all is asked at once.
        with ThreadPoolExecutor() as pool:
            answers = pool.map(lambda ask: ask(), asked.values())
            return [what for what, is_answered in zip(asked, answers) if is_answered]

    def link_local(self):
        """The address that the kernel gives the interface by itself."""
        octets = [int(octet, 16) for octet in self.ns.mac("acc0").split(":")]
        words = [octets[0] ^ 2, octets[1], octets[2], 0xFF, 0xFE, *octets[3:]]
        return "fe80::" + ":".join(f"{words[n] << 8 | words[n + 1]:x}" for n in range(0, 8, 2))


def answers_again(host):
    # Not before it knows that nobody else has its address.
    ready = lambda: "fe80" in host.ns.run("ip -6 addr show dev acc0 -tentative")  # noqa: E731
    until(ready, "the kernel's own link-local address")
    until(lambda: len(host.answers()) == 9, "the host's kernel to answer everything")


def before(host):
    """The host as it is without a node; the test proves nothing where its kernel does not answer."""
    answers_again(host)
    host.ns.run("ethtool -K acc0 gro on")
    return host.settings()


def test_a_task_gets_no_answer_from_the_kernel_beside_the_node():
    need("arping")
    with Lab("ilak") as lab:
        host = Host(lab)
        found = before(host)
        forwarded = host.uplink.capture("eth0", f"dst {OTHER6} or dst net fd00::/16")
        host.node.start()
        until(lambda: "default via fe80" in host.task.run("ip -6 route"), "the task's default route")
        # Nor does the node answer to the addresses that the kernel had.
        answers = host.answers()
        expect(not answers, f"the kernel answers the task: {answers}")
        host.task.run(f"ip neigh replace {OTHER6} lladdr {ROUTER_MAC} dev eth0")
        # What the task sends to the outside leaves by the fabric, and only there.
        wire = host.fabric.capture("nve1", f"icmp6 and dst {OTHER6}")
        host.task.status(["ping", "-c", 3, "-i", 0.2, "-W", 1, OTHER6])
        expect(wire.frames(), "the node forwards nothing")
        host.task.run(f"ip neigh replace {OTHER6} lladdr {host.ns.mac('acc0')} dev eth0")
        # The kernel hears the node's own advertisements, and must not believe them.
        for name in ("acc0", "fab0"):
            text = host.ns.run(f"ip -6 addr show dev {name}") + host.ns.run(f"ip -6 route show dev {name}")
            expect(not text.strip(), f"the kernel uses {name}: {text}")
        expect("via " + UPLINK6 in host.ns.run("ip -6 route show default"), "the host lost its default route")
        copies = forwarded.frames()
        expect(not copies, f"the host's kernel forwarded {len(copies)} packets by its uplink")
        host.node.stop()
        expect(host.settings() == found, f"not restored: {host.settings()}, was {found}")
        answers_again(host)


def test_the_other_end_of_a_pair_is_looked_for_in_its_own_namespace():
    with Lab("ilak") as lab:
        host = Host(lab)
        # Two interfaces of the host whose numbers are crossed with those of their other ends, which are elsewhere.
        for name, index, ns, other in (("acc7", 701, host.task, 702), ("odd7", 702, host.uplink, 701)):
            host.ns.run(f"ip link add {name} index {index} type veth peer name p7 index {other} netns {ns.full}")
        offload = lambda: host.ns.run("ethtool -k odd7").split("tx-checksumming: ")[1].split()[0]  # noqa: E731
        expect(offload() == "on", "there is nothing to switch off")
        host.node.config["ports"][1]["device"] = "net_af_packet1,iface=acc7"
        host.node.start()
        expect(offload() == "on", "an interface that is no other end was changed")
        expect("other end of this pair is in another network namespace" in host.node.log(), host.node.log())
        host.node.stop()


def kill(node):
    node.process.stop(signal.SIGKILL)


def restore(host):
    env = dict(os.environ, RUNTIME_DIRECTORY=host.lab.directory)
    process = host.ns.spawn([binary("ilagate"), "restore"], env)
    return process.wait(), process.output()


def test_what_a_killed_node_changed_is_restored_by_a_command_or_by_the_next_end():
    need("arping")
    with Lab("ilak") as lab:
        host = Host(lab)
        found = before(host)
        host.node.start()
        silenced = host.settings()
        expect(silenced != found, "the node changed nothing")
        # As when another node ends, and systemd restores what it left.
        expect(restore(host) == (0, ""), "a running node's record is no matter")
        expect(host.settings() == silenced, "a running node's settings were restored")
        kill(host.node)
        expect(host.settings() == silenced, "a killed process cannot restore")
        status, text = restore(host)
        expect(status == 0 and "disable_ipv6=0" in text, f"restore says {status}: {text}")
        expect(host.settings() == found, f"not restored: {host.settings()}, was {found}")
        expect(restore(host) == (0, ""), "there is nothing left to restore")
        # Killed twice, then ended well: what was before the first of them comes back.
        for end in (kill, kill, lambda node: node.stop()):
            host.node.start()
            expect(host.settings() == silenced, f"the kernel is not quiet: {host.settings()}")
            end(host.node)
        expect(host.settings() == found, f"not restored: {host.settings()}, was {found}")
        # A killed node that begins again on other interfaces gives back the ones that it no longer uses.
        host.node.start()
        kill(host.node)
        del host.node.config["ports"][1], host.node.config["attachments"]
        host.node.start()
        of = lambda values: {key: value for key, value in values.items() if key.startswith("acc0")}  # noqa: E731
        expect(of(host.settings()) == of(found), f"acc0 is not restored: {host.settings()}")
        # What the operator sets meanwhile stays.
        host.ns.sysctl("net.ipv4.conf.fab0.rp_filter", 2)
        host.node.stop()
        expect(host.ns.run("sysctl -n net.ipv4.conf.fab0.rp_filter").strip() == "2", "an operator's setting is lost")
        expect(not [name for name in os.listdir(lab.directory) if name.endswith(".interfaces.json")], "a record stays")


def test_a_node_that_is_told_to_end_while_it_starts_restores_what_it_changed():
    with Lab("ilak") as lab:
        host = Host(lab)
        found = host.settings()
        host.node.launch()
        host.node.process.wait_for("kernel is kept quiet")
        status = host.node.process.stop(signal.SIGTERM)
        expect(status == 0 and "stopped" in host.node.log(), f"exit {status}: {host.node.log()}")
        expect(host.settings() == found, f"not restored: {host.settings()}, was {found}")


def refused(host, *words):
    host.node.launch()
    status = host.node.process.wait()
    text = host.node.log()
    expect(status == 1 and all(word in text for word in words), f"exit {status}, not {words}: {text}")
    expect("panicked" not in text, text)


def test_an_interface_that_serves_the_host_is_refused_and_left_as_it_is():
    with Lab("ilak") as lab:
        host = Host(lab)
        found = host.settings()
        run = host.ns.run
        for make, unmake, words in (
            ("ip addr add 192.0.2.9/24 dev acc0", "ip addr flush dev acc0 scope global", ["192.0.2.9"]),
            ("ip addr add 169.254.7.7/16 dev acc0", "ip addr del 169.254.7.7/16 dev acc0", ["169.254.7.7"]),
            ("ip -6 addr add 2001:db8:7::1/64 dev acc0", "ip -6 addr del 2001:db8:7::1/64 dev acc0", ["2001:db8:7::1"]),
            ("ip -6 route add 2001:db8:8::/48 dev acc0", "ip -6 route del 2001:db8:8::/48 dev acc0", ["2001:db8:8::/48"]),
            ("ip route add 198.51.100.0/24 dev acc0", "ip route del 198.51.100.0/24 dev acc0", ["198.51.100.0/24"]),
            ("ip link add link acc0 name upper0 type macvlan", "ip link del upper0", ["carries upper0"]),
        ):  # fmt: skip
            run(make)
            refused(host, "port access0: interface acc0", *words)
            expect(host.settings() == found, f"{make}: the node changed what serves the host")
            run(unmake)
        run("ip link add br7 type bridge")
        run("ip link set acc0 master br7")
        refused(host, "interface acc0 belongs to br7", "ip link set acc0 nomaster")
        run("ip link set acc0 nomaster")
        host.node.start().stop()


def test_a_kernel_that_cannot_be_silenced_is_told_with_the_commands():
    with Lab("ilak") as lab:
        host = Host(lab)
        found = host.settings()
        # A container's /proc/sys.
        mounts = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
        wrapper = ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
        host.node.write()
        env = dict(os.environ, RUNTIME_DIRECTORY=lab.directory)
        words = [*wrapper, binary("ilagate"), "run", "--config", host.node.file]
        process = host.ns.spawn(words, env)
        status, text = process.wait(), process.output()
        command = "sysctl -w net/ipv6/conf/fab0/disable_ipv6=1"
        expect(status == 1 and command in text and "Read-only" in text, f"{status}: {text}")
        expect(host.settings() == found, "something was changed")
        # What the message says works.
        commands = text.split("type before the start: ")[1].splitlines()[0]
        for line in commands.split("; "):
            host.ns.run(line)
        process = host.ns.spawn(words, env)
        process.wait_for("forwarding")
        expect(process.stop() == 0, process.output())


def test_an_interface_that_a_node_makes_is_quiet_and_useful_in_another_namespace():
    with Lab("ilak") as lab:
        host = Host(lab)
        host.node.config["ports"][1]["device"] = "net_tap0,iface=tap0"
        host.node.start()
        host.ns.run("ip link set tap0 up")
        expect(not host.ns.run("ip -6 addr show dev tap0").strip(), "the kernel uses the interface by itself")
        host.ns.run(f"ip link set tap0 netns {host.task.full}")
        host.task.run("ip link set eth0 down")
        host.task.run(f"ip link set tap0 address {T1_MAC}")
        host.task.run("ip link set tap0 up")
        until(lambda: "default via fe80" in host.task.run("ip -6 route show dev tap0"), "the task's default route")
        host.node.stop()
