"""Networks that an operator makes at the authority, for hosts whose files have ports and locators and nothing else."""

import json

from lab import binary
from nva import Authority, follow
from tenants import ANYCAST, GATEWAY4, L1, L2, LG, VMS, VNETS, TenantNetwork, gateway6, ipv4, ipv6, mac
from wait import expect, until


def network(name, **more):
    """An entry of virtual_networks."""
    prefix, vnid = VNETS[name]
    return {"name": name, "vnid": vnid, "domain": "tasks", "mac": ANYCAST,
            "ipv6": {"prefix": f"{prefix}/96", "gateway": gateway6(name)},
            "ipv4": [{"prefix": "10.0.0.0/24", "gateway": GATEWAY4}], **more}  # fmt: skip


class Provisioned(TenantNetwork):
    """The tenants' network under an authority; nobody has tenants yet, and no node's file is touched any more."""

    def __init__(self, lab, gateway=False):
        super().__init__(lab, policies=[], gateway=gateway)
        self.names = {node.ns.name: node.config["node"]["name"] for node in self.nodes}
        locators = {"nve1": [L1], "nve2": [L2], "gw": [LG]}
        nves = {name: locators[ns] for ns, name in self.names.items()}
        self.nva = Authority(lab, self.fab, self.nodes[0].config["sir_domains"], nves)
        for nve in self.nva.config["nves"]:
            if gateway and nve["name"] == self.names["gw"]:
                nve["networks"] = "all"
        for node in self.nodes:
            follow(node, self.nva)
            node.config["nva"]["provision"] = True
            node.config["node"]["state_dir"] = lab.path("state")
            for section in ("virtual_networks", "policies", "attachments"):
                node.config.pop(section, None)

    def start(self):
        self.nva.start()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.ready()
        for vm, ns in self.vms.items():
            ns.run(f"ip addr add {ipv4(vm)}/24 dev eth0")
            ns.run(f"ip -6 addr add {ipv6(vm)}/96 dev eth0 nodad")
            ns.run(f"ip route add default via {GATEWAY4}")
        return self

    def command(self, *words):
        return [binary("ilactl"), "nva", "--nva", self.nva.endpoint, *words]

    def asks(self, *words, entry=None):
        """`ilactl nva …`, with an entry on its standard input."""
        return self.fab.run(self.command(*words), stdin=None if entry is None else json.dumps(entry))

    def show(self, *words):
        return json.loads(self.asks("--json", *words))

    def refused(self, *words, entry=None):
        """Why the authority refuses it."""
        stdin = None if entry is None else json.dumps(entry)
        done = self.lab.host(self.fab.command(self.command(*words)), check=False, stdin=stdin)
        expect(done.returncode == 1, f"{words} passed: {done.stdout}")
        return done.stdout

    def attach(self, vm):
        network, host, _ = VMS[vm]
        port = [name for name, (_, at, _) in VMS.items() if at == host].index(vm)
        self.asks("attachment", "add", self.names[f"nve{host}"], vm, "--port", f"access{port}", "--mac", mac(vm),
                  "--network", network, "--address", ipv4(vm), "--address", ipv6(vm))  # fmt: skip

    def attached(self, node, *vms):
        """Waits until the node has these attachments of the authority, and no other."""
        here = lambda: {one["name"] for one in node.show("attachment", "list") if one["origin"] == "nva"}  # noqa: E731
        until(lambda: here() == set(vms), f"{node.ns.name} to have {vms}")

    def stop(self):
        super().stop()
        self.nva.stop()
