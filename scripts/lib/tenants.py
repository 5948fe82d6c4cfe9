"""The tenants' network: two hosts, two virtual networks with the same IPv4 addresses, a service task, the Internet.

    vm1 (red)  --- nve1 ---\\           /--- nve2 --- vm2 (red)
    vm3 (blue) ---/         fab (IPv6 router and Internet host)  \\--- vm4 (blue), service
                             \\--- gw, if wanted: no tenants, a locator of its own
"""

from lab import SIR
from reference import L1, L2, short, task_up
from wait import until

INET = "2001:db8:1::2"
SERVICE = short(f"{SIR}2000::4")
ANYCAST = "02:00:5e:00:00:01"
ROUTER = "fe80::5eff:fe00:1"
GATEWAY4 = "10.0.0.254"
LG = "fd00:1:0:8::/64"
# Name: network, host, last part of its addresses.
VMS = {"vm1": ("red", 1, 1), "vm2": ("red", 2, 2), "vm3": ("blue", 1, 1), "vm4": ("blue", 2, 2)}
VNETS = {"red": ("2001:db8:a::", 100), "blue": ("2001:db8:b::", 200)}


def ipv4(vm):
    return f"10.0.0.{VMS[vm][2]}"


def ipv6(vm):
    return f"{VNETS[VMS[vm][0]][0]}{VMS[vm][2]}"


def mac(vm):
    return f"02:00:00:00:02:0{vm[-1]}"


def transfer(sender, receiver, to, family, size=300_000, listen_at=None):
    """Sends `size` bytes by TCP; the receiver says how many came, and their checksum. It may listen at another address
    than the sender knows it by, of another family: address and family."""
    here, heard = listen_at or (to, family)
    listen = (
        "import socket,zlib\n"
        f"s=socket.socket(socket.{heard});s.bind(({here!r},7000));s.listen(1);print('listening',flush=True)\n"
        "c,_=s.accept();n=k=0\n"
        "while d:=c.recv(65536): n+=len(d);k=zlib.crc32(d,k)\n"
        "print('got',n,k,flush=True)\n"
    )
    send = (
        "import socket,zlib\n"
        f"d=bytes(i*7%251 for i in range({size}))\n"
        f"s=socket.socket(socket.{family});s.settimeout(60);s.connect(({to!r},7000));s.sendall(d);s.close()\n"
        "print(zlib.crc32(d))\n"
    )
    server = receiver.spawn(["/usr/bin/python3", "-c", listen])
    server.wait_for("listening")
    crc = sender.run(["/usr/bin/python3", "-c", send], timeout=90).strip()
    server.wait_for(f"got {size} {crc}")


def datagram(sender, receiver, to, size=5000):
    """Sends one datagram by IPv6 that no packet holds; the receiver says how much came, and its checksum."""
    listen = (
        "import socket,zlib\n"
        f"s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM);s.bind(({to!r},7001));print('listening',flush=True)\n"
        "while True: d=s.recv(65536);print('got',len(d),zlib.crc32(d),flush=True)\n"
    )
    send = (
        "import socket,zlib\n"
        f"d=bytes(i*7%251 for i in range({size}))\n"
        f"s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n"
        f"for _ in range(3): s.sendto(d,({to!r},7001))\n"
        "print(zlib.crc32(d))\n"
    )
    server = receiver.spawn(["/usr/bin/python3", "-c", listen])
    server.wait_for("listening")
    crc = sender.run(["/usr/bin/python3", "-c", send], timeout=90).strip()
    server.wait_for(f"got {size} {crc}")


def gateway6(network):
    return f"{VNETS[network][0]}ffff:fffe"


# Red reaches services and the Internet, and these reach red; blue has no policy.
POLICIES = [
    {"from": "red", "to": f"{SIR}:/64"}, {"from": f"{SIR}:/64", "to": "red"},
    {"from": "red", "to": "outside"}, {"from": "outside", "to": "red"},
]  # fmt: skip


class TenantNetwork:
    """Builds all of it; `start` lets it run."""

    def __init__(self, lab, fabric_mtu=1600, policies=POLICIES, gateway=False):
        self.lab = lab
        self.policies = policies
        self.fab = lab.ns("fab").router()
        self.fab.run("ip link set lo up")
        self.fab.run(f"ip -6 addr add {INET}/128 dev lo")
        self.vms = {name: lab.ns(name) for name in VMS}
        self.service = lab.ns("service")
        self.mapping_file = lab.path("mappings.yaml")
        self.write_mappings()
        self.nodes = [self._nve(1, L1, fabric_mtu), self._nve(2, L2, fabric_mtu)]
        self.nve1, self.nve2 = self.nodes
        legs = [("nve1", 1, L1), ("nve2", 2, L2)]
        if gateway:
            self.gw = self._gateway(4, fabric_mtu)
            self.nodes.append(self.gw)
            legs.append(("gw", 4, LG))
        for name, leg, locator in legs:
            self.fab.addr(name, f"fd00:f:{leg}::ff/64")
            self.fab.route(f"{locator} via fd00:f:{leg}::1")
        # Any host is a gateway to the virtual networks; here the first one.
        for prefix in (f"{SIR}:/64", *(f"{prefix}/96" for prefix, _ in VNETS.values())):
            self.fab.route(f"{prefix} via fd00:f:1::1")

    def write_mappings(self):
        lines = [f'  - {{sir: "{SERVICE}", locators: ["{L2}"]}}\n']
        for vm, (network, host, _) in VMS.items():
            for address in (ipv4(vm), ipv6(vm)):
                locator = (L1, L2)[host - 1]
                lines.append(f'  - {{network: {network}, address: "{address}", locators: ["{locator}"]}}\n')
        with open(self.mapping_file, "w") as file:
            file.write("mappings:\n" + "".join(lines))

    def _nve(self, number, locator, fabric_mtu):
        ns = self.lab.ns(f"nve{number}").of_a_node()
        here = [vm for vm, (_, host, _) in VMS.items() if host == number]
        attachments = []
        ports = [self._fabric_port(ns, f"nve{number}", number, fabric_mtu)]
        for n, vm in enumerate(here):
            self.lab.wire(self.vms[vm], "eth0", ns, vm)
            self.vms[vm].run(f"ip link set eth0 address {mac(vm)}")
            ports.append({"name": f"access{n}", "device": f"net_af_packet{n + 1},iface={vm}", "role": "access"})
            attachments.append(
                {"name": vm, "port": f"access{n}", "mac": mac(vm), "network": VMS[vm][0],
                 "addresses": [ipv4(vm), ipv6(vm)]}
            )  # fmt: skip
        if number == 2:
            self.lab.wire(self.service, "eth0", ns, "service")
            self.service.run("ip link set eth0 address 02:00:00:00:02:09")
            ports.append(
                {"name": "access2", "device": "net_af_packet3,iface=service", "role": "access",
                 "router_advertisement": {"interval_s": 4}}
            )  # fmt: skip
            attachments.append(
                {"name": "service", "port": "access2", "mac": "02:00:00:00:02:09", "identifiers": [SERVICE]}
            )
        return self._node(ns, f"nve{number}", number, locator, ports=ports, attachments=attachments)

    def _gateway(self, number, fabric_mtu):
        ns = self.lab.ns("gw").of_a_node()
        return self._node(ns, "gw", number, LG, ports=[self._fabric_port(ns, "gw", number, fabric_mtu)])

    def _fabric_port(self, ns, name, number, mtu):
        self.lab.wire(ns, "fab", self.fab, name, mtu)
        return {"name": "fabric0", "device": "net_af_packet0,iface=fab", "role": "fabric", "mtu": mtu,
                "addresses": [f"fd00:f:{number}::1/64"]}  # fmt: skip

    def _node(self, ns, name, number, locator, **config):
        networks = [
            {"name": name, "vnid": vnid, "domain": "tasks", "mac": ANYCAST,
             "ipv6": {"prefix": f"{prefix}/96", "gateway": gateway6(name)},
             "ipv4": [{"prefix": "10.0.0.0/24", "gateway": GATEWAY4}],
             # The last one is nobody's.
             "replicate_to": [L1, L2, "fd00:1:0:9::/64"]}
            for name, (prefix, vnid) in VNETS.items()
        ]  # fmt: skip
        return self.lab.node(
            ns, name, number % 2,
            locators=[{"prefix": locator, "domain": "tasks"}],
            virtual_networks=networks, policies=self.policies,
            routes=[{"prefix": "::/0", "via": f"fd00:f:{number}::ff", "port": "fabric0"}],
            mappings={"file": self.mapping_file}, **config,
        )  # fmt: skip

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.ready()
        for vm, ns in self.vms.items():
            ns.run(f"ip addr add {ipv4(vm)}/24 dev eth0")
            ns.run(f"ip -6 addr add {ipv6(vm)}/96 dev eth0 nodad")
            ns.run(f"ip route add default via {GATEWAY4}")
        for vm, ns in self.vms.items():
            learnt = f"default via {ROUTER} dev eth0 proto ra"
            until(lambda ns=ns, learnt=learnt: learnt in ns.run("ip -6 route show default"), f"{vm} to learn its router")
        task_up(self.service, SERVICE)
        return self

    def stop(self):
        for node in self.nodes:
            node.stop()
