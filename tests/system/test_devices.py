"""Devices other than the usual ones, and what a node says when one does not open: the true cause, and a way out."""

import os
import signal
import socket

from lab import Lab, binary
from wait import expect, need, until

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
        state = lambda: bench.node.show("port", "list")[0]  # noqa: E731
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer")
        expect(state()["up"] and state()["problem"] == "", state())
        bench.ns.run("ip link set fab0 mtu 1400")
        until(lambda: "mtu of its interface is lower" in state()["problem"], "the lowered MTU to be seen")
        expect(state()["up"], "a port with a lower MTU still carries what fits")
        bench.ns.run("ip link set fab0 mtu 1500")
        until(lambda: state()["problem"] == "", "the MTU to be right again")
        bench.peer.run("ip link set eth0 down")
        until(lambda: not state()["up"] and "no link" in state()["problem"], "the link to be down")
        bench.peer.run("ip link set eth0 up")
        until(lambda: state()["up"], "the link to be up")
        bench.ns.run("ip link del fab0")
        until(lambda: "is gone" in state()["problem"] and not state()["up"], "the interface to be gone")
        expect("fabric0: its interface is gone" in bench.node.ctl("port", "list"), "people are not told")
        # One that serves the host meanwhile is not taken.
        lab.wire(bench.ns, "fab0", bench.peer, "eth0")
        bench.ns.run("ip addr add 192.0.2.1/24 dev fab0")
        until(lambda: "addresses of this host" in bench.node.log() or state()["up"], "the new interface to be looked at")
        if not state()["up"]:
            expect("made again" in state()["problem"], state())
            bench.ns.run("ip addr del 192.0.2.1/24 dev fab0")
        until(lambda: state()["up"] and state()["problem"] == "", "the port to come back by itself")
        bench.peer.addr("eth0", f"{PEER}/64")
        until(lambda: bench.peer.answered(OWN), "the node's own address to answer on the new interface")
        quiet = bench.ns.run(["cat", "/proc/sys/net/ipv6/conf/fab0/disable_ipv6"]).strip()
        expect(quiet == "1", "the kernel is not quiet on the new interface")
        # Again and again, in no time: each is another interface.
        for _ in range(3):
            bench.ns.run("ip link del fab0")
            lab.wire(bench.ns, "fab0", bench.peer, "eth0")
            bench.peer.addr("eth0", f"{PEER}/64")
        until(lambda: state()["up"] and bench.peer.answered(OWN), "the port to be back after several interfaces")
        expect(len(bench.node.log().splitlines()) < 100, "the log grows all the time")
        bench.node.stop()


def test_a_memif_port_follows_its_peer_in_any_order():
    with Lab("ilad") as lab:
        ns = lab.ns("host").of_a_node()
        path = lab.path("memif.sock")

        def node(name, role, core):
            made = lab.node(
                ns, name, core,
                ports=[{"name": "fabric0", "device": f"net_memif0,role={role},id=0,socket={path},socket-abstract=no",
                        "role": "fabric", "addresses": [f"fd00:f:1::{core + 1}/64"]}],
            )  # fmt: skip
            made.config["metrics"]["listen"] = f"127.0.0.1:{9464 + core}"
            return made

        server, client = node("server", "server", 0), node("client", "client", 1)
        state = lambda of: of.show("port", "list")[0]  # noqa: E731
        connected = lambda: state(server)["up"] and state(client)["up"]  # noqa: E731
        down = lambda of: not state(of)["up"] and "peer is not connected" in state(of)["problem"]  # noqa: E731
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
        for made in (server, client):
            made.stop()
        errors = [line for line in client.log().splitlines() if "ERROR" in line or " WARN dpdk" in line]
        expect(len(errors) < 30, f"{len(errors)} lines of errors: {errors[:3]}")
