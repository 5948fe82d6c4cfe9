"""Devices other than the usual ones, and what a node says when one does not open: the true cause, and a way out."""

import os
import signal
import socket

from lab import Lab, binary
from wait import expect, need, until

# Others beside it would be in its measure.
ALONE = True

PEER, OWN = "fd00:f:1::ff", "fd00:f:1::1"


class Bench:
    """A node with one fabric port on an interface, and a Linux stack at the other end."""

    def __init__(self, lab):
        self.lab, self.peer = lab, lab.ns("peer")
        self.ns = lab.ns("host").of_a_node()
        lab.wire(self.ns, "fab0", self.peer, "eth0")
        self.peer.addr("eth0", f"{PEER}/64")
        self.node = lab.node(self.ns, "n", 0, ports=[{"name": "fabric0", "role": "fabric", "addresses": [f"{OWN}/64"]}])
        self.port = self.node.config["ports"][0]

    def state(self, port=0):
        """Whether the port is up, and what is wrong with it."""
        shown = state(self.node, port)
        return shown["up"], shown["problem"]

    def until(self, up, problem, port=0):
        """Waits until the port is up or down, for a reason with these words; without words there must be none."""
        right = lambda now: now[0] == up and (problem in now[1] if problem else now[1] == "")  # noqa: E731
        until(lambda: right(self.state(port)), f"port {port} to be {'up' if up else 'down'}: {problem or 'well'}")

    def wire_again(self):
        self.lab.wire(self.ns, "fab0", self.peer, "eth0")
        self.peer.addr("eth0", f"{PEER}/64")

    def refused(self, device, *words, wrapper=(), **dpdk):
        """The node does not start; its last line says why, briefly."""
        self.port["device"] = device
        self.node.config["dpdk"].update(dpdk)
        self.node.write()
        env = dict(os.environ, RUNTIME_DIRECTORY=self.lab.directory)
        process = self.ns.spawn([*wrapper, binary("ilagate"), "run", "--config", self.node.file], env)
        status, text = process.wait(), process.output()
        why = text.splitlines()[-1] if text else ""
        expect(status == 1 and all(word in why for word in words), f"exit {status}, not {words}: {text}")
        expect("librte-meta-all" not in text and "panicked" not in text, text)
        expect(len(text.splitlines()) < 40, f"{len(text.splitlines())} lines:\n{text}")
        for key in dpdk:
            del self.node.config["dpdk"][key]
        return why


def test_a_device_that_does_not_open_is_told_with_its_true_cause():
    need("setpriv")
    with Lab("ilad") as lab:
        bench = Bench(lab)
        packet = "net_af_packet0,iface=fab0"
        bench.refused("net_af_packet0,iface=fab9", "interface fab9", "ip link")
        bench.refused("net_tap0,iface=a-name-of-16byte", "has 16 bytes", "the kernel takes 1 to 15")
        directory = "net_memif0,socket=/no-such-dir/m,socket-abstract=no"
        bench.refused(directory, "/no-such-dir", "make it before the node starts")
        bench.refused("net_af_packet0,iface=fab0,blocksz=77", "see what dpdk says", "net_af_packet takes")
        bench.refused(packet, "dpdk.extra_args (--nope)", "EINVAL", extra_args=["--nope"])
        bench.refused(packet, "dpdk.extra_args (--log-level)", extra_args=["--log-level"])
        without = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
        bench.refused(packet, "needs CAP_NET_RAW, which this process lacks", wrapper=without)
        few = ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"]
        bench.refused(f"{packet},qpairs=60", "more open files", "LimitNOFILE=", wrapper=few)
        no_sys = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys && exec "$@"', "sh"]
        bench.refused(packet, "mount -t sysfs sysfs /sys", wrapper=no_sys)
        bench.port["mac"] = "02:00:00:00:00:77"
        bench.refused("net_af_xdp0,iface=fab0", "type: ip link set dev fab0 address 02:00:00:00:00:77")
        bench.refused(f"net_memif0,socket={lab.path('m')}", ",mac=02:00:00:00:00:77")
        bench.refused(f"net_virtio_user0,path={lab.path('v')}", ",mac=02:00:00:00:00:77")


def test_a_port_on_af_xdp_answers_and_its_node_ends_well():
    with Lab("ilad") as lab:
        bench = Bench(lab)
        bench.port["device"] = "net_af_xdp0,iface=fab0"
        bench.node.config["mbufs"]["count"] = 8192
        bench.node.start()
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer")
        bench.peer.reaches(OWN, 20)
        status = bench.node.process.stop()
        expect(status == 0 and "every mbuf is back" in bench.node.log(), f"exit {status}: {bench.node.log()}")
        expect("AF_XDP" in bench.node.log(), "what its driver keeps is not told")


def test_a_port_is_judged_by_its_interface_and_not_by_the_name():
    with Lab("ilad") as lab:
        bench = Bench(lab)
        bench.port["device"] = "net_af_packet0,iface=fab0"
        bench.node.start()
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer")
        bench.until(True, "")
        bench.ns.run("ip link set fab0 mtu 1400")
        # It still carries what fits.
        bench.until(True, "mtu of its interface is lower")
        bench.ns.run("ip link set fab0 mtu 1500")
        bench.until(True, "")
        bench.peer.run("ip link set eth0 down")
        bench.until(False, "no link")
        bench.peer.run("ip link set eth0 up")
        bench.until(True, "")
        bench.ns.run("ip link del fab0")
        bench.until(False, "is gone")
        expect("fabric0: its interface is gone" in bench.node.ctl("port", "list"), "people are not told")
        # One that serves the host meanwhile is not taken.
        lab.wire(bench.ns, "fab0", bench.peer, "eth0")
        bench.ns.run("ip addr add 192.0.2.1/24 dev fab0")
        until(lambda: "addresses of this host" in bench.node.log() or bench.state()[0], "the new one to be looked at")
        if not bench.state()[0]:
            bench.until(False, "made again: port fabric0: interface fab0 has addresses of this host")
            bench.ns.run("ip addr del 192.0.2.1/24 dev fab0")
        bench.until(True, "")
        bench.peer.addr("eth0", f"{PEER}/64")
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer on the new interface")
        quiet = bench.ns.sysctl_value("net.ipv6.conf.fab0.disable_ipv6")
        expect(quiet == "1", "the kernel is not quiet on the new interface")
        # Again and again, in no time: each is another interface.
        for _ in range(3):
            bench.ns.run("ip link del fab0")
            bench.wire_again()
        until(lambda: bench.state()[0] and bench.peer.answered(OWN), "the port to be back after several interfaces")
        expect(len(bench.node.log().splitlines()) < 100, "the log grows all the time")
        bench.node.stop()


def test_a_port_on_af_xdp_follows_its_interface_as_long_as_it_has_buffers():
    with Lab("ilad") as lab:
        bench = Bench(lab)
        bench.port["device"] = "net_af_xdp0,iface=fab0"
        # Its driver keeps 2048 of them each time.
        bench.node.config["mbufs"]["count"] = 8191
        bench.node.start()
        mac = bench.ns.mac("fab0")
        bench.ns.run("ip link del fab0")
        bench.until(False, "its interface is gone")
        unready = lambda: bench.node.probe("readyz")[0] == 503  # noqa: E731
        until(unready, "the node to be ready no more")
        text = bench.node.probe("readyz")[1]
        expect("fabric0: its interface is gone" in text, text)
        expect(bench.node.metrics()['ilagate_port_impaired{port="fabric0"}'] == 1, "no metric tells of it")
        bench.wire_again()
        bench.until(True, "")
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer on the new interface")
        expect(bench.ns.mac("fab0") == mac, "the port has another MAC address now")
        until(lambda: bench.node.probe("readyz")[0] == 200, "the node to be ready again")
        bench.ns.run("ip link del fab0")
        bench.wire_again()
        bench.until(False, "made again: port fabric0: the driver of AF_XDP kept the buffers")
        bench.node.stop()


def test_ports_that_wait_for_their_interfaces_do_not_take_each_others_place():
    """DPDK numbers ports from the lowest free number on: one that stays away must not keep another one out."""
    with Lab("ilad") as lab:
        bench = Bench(lab)
        bench.port["device"] = "net_af_packet0,iface=fab0"
        lab.wire(bench.ns, "fab1", bench.peer, "eth1")
        other = {"name": "fabric1", "device": "net_af_packet1,iface=fab1", "role": "fabric"}
        bench.node.config["ports"].append({**other, "addresses": ["fd00:f:2::1/64"]})
        bench.node.start()
        bench.ns.run("ip link del fab0")
        lab.wire(bench.ns, "fab0", bench.peer, "eth0", mtu=1400)
        bench.until(False, "made again: port fabric0: mtu 1500 is more than the 1400 of interface fab0")
        bench.ns.run("ip link del fab1")
        lab.wire(bench.ns, "fab1", bench.peer, "eth1")
        bench.until(True, "", port=1)
        bench.ns.run("ip link set fab0 mtu 1500")
        bench.until(True, "")
        bench.peer.addr("eth0", f"{PEER}/64")
        bench.peer.addr("eth1", "fd00:f:2::ff/64")
        until(lambda: bench.peer.answered(OWN) and bench.peer.answered("fd00:f:2::1"), "both ports to answer")
        bench.node.stop()


def test_a_renamed_interface_is_still_that_of_its_port():
    with Lab("ilad") as lab:
        bench = Bench(lab)
        bench.port["device"] = "net_af_packet0,iface=fab0"
        bench.node.start()
        before = {key: bench.ns.sysctl_value(f"net.ipv4.conf.fab0.{key}") for key in ("rp_filter", "arp_ignore")}
        bench.ns.run("ip link set fab0 down")
        bench.until(False, "its interface is set down")
        bench.ns.run("ip link set fab0 name fab9")
        bench.ns.run("ip link set fab9 up")
        bench.until(True, "its interface has another name now")
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer")
        # One that gets its name is another one.
        lab.wire(bench.ns, "fab0", bench.peer, "eth1")
        expect(before == {"rp_filter": "1", "arp_ignore": "8"}, f"the kernel was not quiet: {before}")
        bench.node.stop()
        after = {key: bench.ns.sysctl_value(f"net.ipv4.conf.fab9.{key}") for key in before}
        expect(after["arp_ignore"] == "0", f"not restored under its new name: {after}")


def test_a_port_on_a_tap_follows_it_and_makes_a_new_one():
    with Lab("ilad") as lab:
        bench = Bench(lab)
        bench.port["device"] = "net_tap0,iface=tap0"
        bench.node.start()
        bench.ns.run("ip link set tap0 down")
        bench.until(False, "its interface is set down")
        bench.ns.run("ip link set tap0 up")
        bench.until(True, "")
        mac = bench.ns.mac("tap0")
        bench.ns.run("ip link del tap0")
        until(lambda: "opened again" in bench.node.log(), "a new tap0")
        bench.until(True, "")
        expect(bench.ns.mac("tap0") == mac, "the port has another MAC address now")
        quiet = bench.ns.sysctl_value("net.ipv6.conf.tap0.disable_ipv6")
        expect(quiet == "1", "the kernel is not quiet on the new interface")
        # As for a container: moved, and called what the container wants.
        bench.ns.run(f"ip link set tap0 netns {bench.peer.full}")
        bench.peer.run("ip link del eth0")
        bench.peer.run("ip link set tap0 name eth0")
        bench.peer.run("ip link set eth0 up")
        bench.peer.addr("eth0", f"{PEER}/64")
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer in the other namespace")
        expect(bench.state() == (True, ""), bench.state())
        bench.peer.run("ip link del eth0")
        until(lambda: bench.node.log().count("opened again") == 2, "a new tap0")
        bench.until(True, "")
        bench.node.stop()


class Pair:
    """Two nodes on this host whose ports are each other's peers."""

    def __init__(self, lab, listens, connects):
        self.ns = lab.ns("host").of_a_node()

        def node(name, device, core):
            own, other = f"fd00:f:1::{core + 1}", f"fd00:f:1::{2 - core}"
            made = lab.node(
                self.ns, name, core, routes=[{"prefix": "::/0", "via": other, "port": "fabric0"}],
                ports=[{"name": "fabric0", "device": device, "role": "fabric", "addresses": [f"{own}/64"]}],
            )  # fmt: skip
            made.config["metrics"]["listen"] = f"127.0.0.1:{9464 + core}"
            # Who answered stays reachable for as long as a test looks: two short times that follow each other in the
            # same period would never be seen together.
            made.config["neighbour_discovery"] = {"reachable_ms": 60000, "retransmit_ms": 200}
            return made

        self.server, self.client = node("server", listens, 0), node("client", connects, 1)

    def connected(self):
        """Both ports are up, and each node has heard of the other through them."""
        return all(state(of)["up"] and of.show("neigh", "list")[0]["state"] == "reachable"
                   for of in (self.server, self.client))  # fmt: skip

    def end(self):
        for made in (self.server, self.client):
            made.stop()
            errors = [line for line in made.log().splitlines() if "ERROR" in line or " WARN dpdk" in line]
            expect(len(errors) < 30, f"{len(errors)} lines of errors: {errors[:3]}")


def state(node, port=0):
    return node.show("port", "list")[port]


def down(node):
    return not state(node)["up"] and "peer is not connected" in state(node)["problem"]


def test_a_vhost_port_and_its_guest_follow_each_other_in_any_order():
    with Lab("ilad") as lab:
        path = lab.path("vhost.sock")
        pair = Pair(lab, f"net_vhost0,iface={path}", f"net_virtio_user0,path={path}")
        host, guest = pair.server, pair.client
        guest.start()
        expect(down(guest), state(guest))
        host.start()
        until(pair.connected, "both to be connected")
        for number in (signal.SIGTERM, signal.SIGKILL):
            guest.process.stop(number)
            until(lambda: down(host), f"the host to see the guest end by {number}")
            guest.start()
            until(pair.connected, f"both to be connected after the guest ended by {number}")
        for number in (signal.SIGTERM, signal.SIGKILL):
            host.process.stop(number)
            until(lambda: down(guest), f"the guest to see the host end by {number}")
            host.start()
            until(pair.connected, f"both to be connected after the host ended by {number}")
        pair.end()


def test_a_memif_port_follows_its_peer_in_any_order():
    with Lab("ilad") as lab:
        path = lab.path("memif.sock")
        device = lambda role: f"net_memif0,role={role},id=0,socket={path},socket-abstract=no"  # noqa: E731
        pair = Pair(lab, device("server"), device("client"))
        server, client, connected = pair.server, pair.client, pair.connected
        client.start()
        expect(down(client), state(client))
        server.start()
        until(connected, "both to be connected")
        server.stop()
        until(lambda: down(client), "the client to see that the server is gone")
        server.start()
        until(connected, "both to be connected again")
        server.process.stop(signal.SIGKILL)
        until(lambda: down(client), "the client to see that the server was killed")
        # A killed process leaves its socket, at which nobody listens.
        if not os.path.exists(path):
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(path)
        server.start()
        until(connected, "both to be connected after the server was killed")
        client.process.stop(signal.SIGKILL)
        until(lambda: down(server), "the server to see that the client was killed")
        client.start()
        until(connected, "both to be connected after the client was killed")
        pair.end()
