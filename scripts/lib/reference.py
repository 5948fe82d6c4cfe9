"""The reference network: an Internet host, a gateway, a fabric with a Linux router, two NVEs with a task each.

    inet ---ext--- gw ---\\                /--- nve1 ---- t1   (a Linux that knows nothing of ILA)
                          fab (IPv6 router)
                         /                \\--- nve2 ---- t2
"""

from lab import SIR
from wait import until

INET = "2001:db8:1::2"
GATEWAY = "2001:db8:1::1"
T1, T2, T3 = f"{SIR}2000::1", f"{SIR}2000::2", f"{SIR}2000::3"
T1_MAC, T2_MAC, T3_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
L1, L2, L3 = "fd00:1:0:1::/64", "fd00:1:0:2::/64", "fd00:1:0:3::/64"
# The router of the SIR domain, the same at every node: a task that moves keeps its default router.
ROUTER_MAC = "02:00:5e:00:00:01"


def short(address):
    """`SIR`'s text form as the standard library writes it."""
    import ipaddress

    return str(ipaddress.IPv6Address(address))


T1, T2, T3 = short(T1), short(T2), short(T3)


def task_up(task, sir, options="nodad"):
    """A task has its SIR address and waits for its default route by Router Advertisement."""
    task.run(f"ip -6 addr add {sir}/128 dev eth0 {options}")
    until(lambda: "default via fe80" in task.run("ip -6 route"), f"{task.name}'s default route")


class Network:
    """Builds all of it; nothing runs yet but Linux."""

    def __init__(self, lab, checksum="neutral-map", fabric_mtu=1500, start=True):
        self.lab = lab
        self.inet, self.fab = lab.ns("inet"), lab.ns("fab").router()
        self.t1, self.t2 = lab.ns("t1"), lab.ns("t2")
        self.domain = [{"name": "tasks", "prefix": f"{SIR}:/64", "checksum": checksum}]
        self.mapping_file = lab.path("mappings.yaml")
        self.write_mappings([(T1, L1), (T2, L2)])
        self.gw = self._gateway()
        self.nve1 = self._nve(1, L1, fabric_mtu)
        self.nve2 = self._nve(2, L2, fabric_mtu)
        self._internet_and_fabric()
        self.plug(self.nve1, self.t1, T1_MAC)
        self.plug(self.nve2, self.t2, T2_MAC)
        self.nve1.config["attachments"] = [self.attachment("task1", T1, T1_MAC)]
        self.nve2.config["attachments"] = [self.attachment("task2", T2, T2_MAC)]
        self.nodes = [self.gw, self.nve1, self.nve2]
        if start:
            self.start()

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.ready()
        task_up(self.t1, T1)
        task_up(self.t2, T2)

    def stop(self):
        for node in self.nodes:
            node.stop()

    def write_mappings(self, pairs):
        lines = "".join(f'  - {{sir: "{sir}", locators: ["{locator}"]}}\n' for sir, locator in pairs)
        with open(self.mapping_file, "w") as file:
            file.write(f"mappings:\n{lines}")

    @staticmethod
    def attachment(name, sir, mac, **more):
        return {"name": name, "port": "access0", "mac": mac, "identifiers": [sir], **more}

    def _gateway(self):
        ns = self.lab.ns("gw").of_a_node()
        self.lab.wire(self.inet, "eth0", ns, "ext")
        self.lab.wire(ns, "fab", self.fab, "gw")
        return self.lab.node(
            ns, "gw", 0,
            sir_domains=self.domain,
            ports=[
                {"name": "inet0", "device": "net_af_packet0,iface=ext", "role": "external",
                 "addresses": [f"{GATEWAY}/64"]},
                {"name": "fabric0", "device": "net_af_packet1,iface=fab", "role": "fabric",
                 "addresses": ["fd00:f:0::1/64"]},
            ],
            routes=[
                {"prefix": "fd00::/16", "via": "fd00:f:0::ff", "port": "fabric0"},
                {"prefix": "::/0", "via": INET, "port": "inet0"},
            ],
            mappings={"file": self.mapping_file},
        )  # fmt: skip

    def _nve(self, number, locator, fabric_mtu):
        ns = self.lab.ns(f"nve{number}").of_a_node()
        self.lab.wire(ns, "fab", self.fab, f"nve{number}", fabric_mtu)
        # The host's switch, with the node at one end: tasks come and go at the others.
        ns.run("ip link add br0 type bridge")
        ns.only_switches("br0")
        ns.run("ip link set br0 up")
        self.lab.wire(ns, "acc", ns, "node")
        ns.only_switches("node")
        ns.run("ip link set node master br0")
        return self.lab.node(
            ns, f"nve{number}", number % 2,
            sir_domains=self.domain,
            locators=[{"prefix": locator, "domain": "tasks"}],
            ports=[
                {"name": "fabric0", "device": "net_af_packet0,iface=fab", "role": "fabric", "mtu": fabric_mtu,
                 "addresses": [f"fd00:f:{number}::1/64"]},
                {"name": "access0", "device": "net_af_packet1,iface=acc", "role": "access",
                 "router_advertisement": {"interval_s": 4, "lifetime_s": 1800}},
            ],
            routes=[{"prefix": "::/0", "via": f"fd00:f:{number}::ff", "port": "fabric0"}],
            mappings={"file": self.mapping_file},
        )  # fmt: skip

    def _internet_and_fabric(self):
        self.inet.addr("eth0", f"{INET}/64")
        self.inet.route(f"default via {GATEWAY}")
        self._leg(1, L1)
        self._leg(2, L2)
        self.fab.addr("gw", "fd00:f:0::ff/64")
        # The SIR prefix leads to the gateway, which is the ILA router for those that know no mappings.
        self.fab.route("default via fd00:f:0::1")

    def _leg(self, number, locator):
        """The fabric's router at an NVE."""
        self.fab.addr(f"nve{number}", f"fd00:f:{number}::ff/64")
        self.fab.route(f"{locator} via fd00:f:{number}::1")

    def third(self):
        """One more NVE with a task."""
        self.t3 = self.lab.ns("t3")
        self.nve3 = self._nve(3, L3, 1500)
        self._leg(3, L3)
        self.plug(self.nve3, self.t3, T3_MAC)
        self.nve3.config["attachments"] = [self.attachment("task3", T3, T3_MAC)]
        self.nodes.append(self.nve3)

    def plug(self, node, task, mac):
        """Connects a task's namespace to a host's switch."""
        self.lab.wire(task, "eth0", node.ns, task.name)
        node.ns.only_switches(task.name)
        task.run(f"ip link set eth0 address {mac}")
        node.ns.run(f"ip link set {task.name} master br0")

    def move(self, task, old, new):
        """The task's link moves to another host's switch; the task's own end stays as it is."""
        old.ns.run(f"ip link set {task.name} netns {new.ns.full}")
        new.ns.only_switches(task.name)
        new.ns.run(f"ip link set {task.name} master br0")
        new.ns.run(f"ip link set {task.name} up")
