"""A running `ila-nva` on a Unix socket in the laboratory's directory, and nodes that know nothing but it."""

import json
import os
import signal

from lab import binary
from wait import expect, until


PORT = 7700


class Pki:
    """The certificates of a laboratory, made by `ilactl pki`."""

    def __init__(self, lab, domain="lab", directory="pki"):
        self.lab, self.domain, self.directory = lab, domain, lab.path(directory)
        self._ilactl("init", "--domain", domain)

    def _ilactl(self, *words):
        done = self.lab.host([binary("ilactl"), "--json", "pki", *words, "--dir", self.directory])
        return json.loads(done.stdout)

    def issue(self, role, name, *words):
        """The files of a new certificate, as the configurations name them, and its serial number."""
        made = self._ilactl("issue", f"ilagate://{self.domain}/{role}/{name}", *words)
        authorities = os.path.join(self.directory, "ca.pem")
        files = {"certificate": made["certificate"], "key": made["key"], "authorities": authorities}
        return files, made["serial"]


class Management:
    """A network beside the fabric: a bridge in a namespace of its own, where authorities run."""

    def __init__(self, lab):
        self.lab, self.ns = lab, lab.ns("mgmt")
        self.ns.run("ip link add br0 type bridge")
        self.ns.run("ip addr add 192.168.127.1/24 dev br0")
        self.ns.run("ip link set br0 up")
        self.count = 1

    def join(self, node):
        self.count += 1
        self.lab.wire(node.ns, "mgmt", self.ns, f"node{self.count}")
        self.ns.run(f"ip link set node{self.count} master br0")
        node.ns.run(f"ip addr add 192.168.127.{self.count}/24 dev mgmt")


class Authority:
    """An ila-nva process with an embedded store, on a Unix socket; with certificates on the management network."""

    def __init__(self, lab, ns, domains, nves, tls=None, **sessions):
        self.lab, self.ns = lab, ns
        self.socket, self.store = lab.path("nva.sock"), lab.path("nva.redb")
        self.file = lab.path("nva.yaml")
        self.endpoint = f"https://192.168.127.1:{PORT}" if tls else f"unix:{self.socket}"
        self.config = {
            "nva": {"name": "nva1"},
            "listen": [self.endpoint],
            "store": {"path": self.store},
            "sir_domains": [{"name": domain["name"], "prefix": domain["prefix"]} for domain in domains],
            "sessions": sessions,
            "nves": [
                {"name": name, "locators": [{"prefix": locator, "domain": "tasks"} for locator in locators]}
                for name, locators in nves.items()
            ],
        }
        if tls:
            self.config["tls"] = tls
        self.process = None

    def write(self):
        with open(self.file, "w") as file:
            json.dump(self.config, file, indent=2)

    def start(self):
        self.write()
        self.process = self.ns.spawn([binary("ila-nva"), "run", "--config", self.file], dict(os.environ))
        self.process.wait_for("serving")
        return self

    def reload(self):
        """Writes the configuration, and has it taken over by SIGHUP."""
        before = self.log().count("reloaded")
        self.write()
        self.process.send(signal.SIGHUP)
        until(lambda: self.log().count("reloaded") > before, "the authority to reload")

    def ctl(self, *words):
        """What `ilactl nva` says, over the socket."""
        done = self.lab.host([binary("ilactl"), "--json", "nva", "--nva", self.endpoint, *words])
        return json.loads(done.stdout)

    def log(self):
        return self.process.output()

    def kill(self):
        self.process.stop(signal.SIGKILL)

    def stop(self):
        status = self.process.stop(signal.SIGTERM)
        expect(status == 0, f"ila-nva: exit status {status}\n{self.log()[-2000:]}")


def follow(node, authority, tls=None):
    """The node has no mapping file any more: it asks the authority."""
    node.config.pop("mappings", None)
    node.config["nva"] = {"endpoints": [authority.endpoint]}
    if tls:
        node.config["nva"]["tls"] = tls
