"""MAC addresses at the authority: RARP is answered from there, and gateways are compared."""

from lab import Lab
from nva import Authority, follow
from reference import L1, L2
from tenants import ANYCAST, TenantNetwork, ipv4, mac
from wait import expect, until

REGISTERED = 'ilagate_nva_registrations{state="registered"}'

# Asks by RARP for MAC addresses, one after the other, and prints who has which address: of each what came in a second.
RARP = """
import socket, struct, sys, time
of = lambda text: bytes.fromhex(text.replace(":", ""))
own = of(open("/sys/class/net/eth0/address").read().strip())
port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035))
port.bind(("eth0", 0x8035))
operation = int(sys.argv[1])
address = bytes(4) if operation == 3 else bytes([10, 0, 0, 77])
for sought in map(of, sys.argv[2:]):
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, operation, own, address, sought, address)
    port.send(b"\\xff" * 6 + own + b"\\x80\\x35" + body)
    end = time.monotonic() + 1
    while (left := end - time.monotonic()) > 0:
        port.settimeout(left)
        try:
            frame = port.recv(2048)
        except TimeoutError:
            break
        if frame[20:22] == b"\\0\\4" and frame[:6] == own:
            print(frame[32:38].hex(":"), socket.inet_ntoa(frame[38:42]))
"""


def rarp(vm, *sought, operation=3):
    """The answers to RARP requests of a tenant: pairs of a MAC address and an IPv4 address."""
    told = vm.run(["python3", "-c", RARP, str(operation), *sought], timeout=30)
    return [tuple(line.split()) for line in told.splitlines()]


class Macs:
    """The tenants' network under an authority."""

    def __init__(self, lab, mode="full"):
        self.net = TenantNetwork(lab)
        self.names = [node.config["node"]["name"] for node in self.net.nodes]
        domains = self.net.nve1.config["sir_domains"]
        self.nva = Authority(lab, self.net.fab, domains, dict(zip(self.names, ([L1], [L2]))))
        for node in self.net.nodes:
            follow(node, self.nva)
        self.net.nve1.config["nva"]["mode"] = mode
        self.nva.config["metrics"] = {"listen": "127.0.0.1:9465"}

    def metrics(self):
        """What the authority measures: samples by name with labels."""
        text = self.net.fab.run("curl -sfg http://127.0.0.1:9465/metrics")
        samples = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in samples}

    def start(self):
        self.nva.start()
        self.net.start()
        for node, count in ((self.net.nve1, 4), (self.net.nve2, 5)):
            until(lambda node=node, n=count: node.metrics()[REGISTERED] == n, f"{node.ns.name} to be registered")
        return self

    def stop(self):
        self.net.stop()
        self.nva.stop()


def answers_from_the_authority(mode):
    with Lab("ilam") as lab:
        macs = Macs(lab, mode).start()
        net, nva = macs.net, macs.nva
        vm1 = net.vms["vm1"]
        vm2_wire = net.vms["vm2"].capture("eth0", "rarp")
        # One at its own node needs nobody; vm2 is elsewhere, and vm4 in another network.
        expect(rarp(vm1, mac("vm1")) == [(mac("vm1"), ipv4("vm1"))], "its own address")
        expect(rarp(vm1, mac("vm2")) == [(mac("vm2"), ipv4("vm2"))], "the address of a tenant at another node")
        expect(rarp(vm1, mac("vm4"), "02:00:00:00:09:99") == [], "what is not of its network, or nobody's")
        expect(vm2_wire.frames() == [], "a question was flooded")
        sought = lambda result: macs.metrics()[f'ila_nva_sought_macs_total{{result="{result}"}}']  # noqa: E731
        expect((sought("held"), sought("nobody")) == (1, 2), f"{sought('held')} held, {sought('nobody')} nobody's")
        # A tenant tells nobody else's address, and is counted.
        expect(rarp(vm1, mac("vm2"), operation=4) == [], "an answer to an answer")
        until(lambda: net.nve1.drops().get("tenant_rarp") == 1, f"the answer of a tenant to be counted: {net.nve1.drops()}")
        # What is released is found no more.
        net.nve2.config["attachments"] = [one for one in net.nve2.config["attachments"] if one["name"] != "vm2"]
        net.nve2.reload()
        gone = lambda: not any(one["locators"] for one in nva.ctl("records", "--mac", mac("vm2")))  # noqa: E731
        until(gone, "vm2 to be released")
        expect(rarp(vm1, mac("vm2")) == [], "it is found although it was released")
        macs.stop()


def test_rarp_is_answered_from_the_authority_by_a_node_that_follows():
    answers_from_the_authority("full")


def test_rarp_is_answered_from_the_authority_by_a_node_that_asks():
    answers_from_the_authority("cache")


def test_operators_see_mac_addresses_and_networks_at_each_nve_and_gateways_that_differ():
    with Lab("ilam") as lab:
        macs = Macs(lab)
        macs.start()
        net, nva, (nve1, nve2) = macs.net, macs.nva, macs.names
        found = nva.ctl("records", "--mac", mac("vm1"))
        expect(len(found) == 2 and all(one["owner"] == nve1 and one["mac"] == mac("vm1") for one in found), found)
        other = "02:00:5e:00:00:99"
        for network in net.nve2.config["virtual_networks"]:
            if network["name"] == "blue":
                network["mac"] = other
        net.nve2.stop()
        net.nve2.start()
        until(lambda: macs.metrics()["ila_nva_differing_gateway_macs"] == 1, "it to be counted")
        networks = {(one["vnid"], one["nve"]): one for one in nva.ctl("networks")}
        expect(set(networks) == {(vnid, nve) for vnid in (100, 200) for nve in (nve1, nve2)}, networks)
        red, blue = networks[100, nve2], networks[200, nve2]
        expect(red["gateway_mac"] == red["expected_mac"] == ANYCAST and red["name"] == "red", red)
        expect({subnet["prefix"] for subnet in red["subnets"]} == {"2001:db8:a::/96", "10.0.0.0/24"}, red)
        expect((blue["gateway_mac"], blue["expected_mac"]) == (other, ANYCAST), blue)
        told = [line for line in nva.log().splitlines() if "has another MAC address at this NVE" in line]
        expect(len(told) == 1 and other in told[0] and ANYCAST in told[0] and "virtual_networks[].mac" in told[0], told)
        # Both the same again, and then one is detached.
        for network in net.nve2.config["virtual_networks"]:
            network["mac"] = ANYCAST
        net.nve2.stop()
        net.nve2.start()
        until(lambda: macs.metrics()["ila_nva_differing_gateway_macs"] == 0, "gateways to agree")
        net.nve2.config["attachments"] = [one for one in net.nve2.config["attachments"] if one["name"] != "vm4"]
        net.nve2.reload()
        until(lambda: [one["nve"] for one in nva.ctl("networks", "--network", "200")] == [nve1], "blue to be detached")
        macs.stop()
