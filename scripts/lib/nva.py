"""A running `ila-nva` on a Unix socket in the laboratory's directory, and nodes that know nothing but it."""

import json
import os
import signal

from lab import binary
from wait import expect


class Authority:
    """An ila-nva process with an embedded store."""

    def __init__(self, lab, ns, domains, nves, **sessions):
        self.lab, self.ns = lab, ns
        self.socket, self.store = lab.path("nva.sock"), lab.path("nva.redb")
        self.file = lab.path("nva.yaml")
        self.config = {
            "nva": {"name": "nva1"},
            "listen": [f"unix:{self.socket}"],
            "store": {"path": self.store},
            "sir_domains": [{"name": domain["name"], "prefix": domain["prefix"]} for domain in domains],
            "sessions": sessions,
            "nves": [
                {"name": name, "locators": [{"prefix": locator, "domain": "tasks"} for locator in locators]}
                for name, locators in nves.items()
            ],
        }
        self.process = None

    def start(self):
        with open(self.file, "w") as file:
            json.dump(self.config, file, indent=2)
        self.process = self.ns.spawn([binary("ila-nva"), "run", "--config", self.file], dict(os.environ))
        self.process.wait_for("serving")
        return self

    def log(self):
        return self.process.output()

    def kill(self):
        self.process.stop(signal.SIGKILL)

    def stop(self):
        status = self.process.stop(signal.SIGTERM)
        expect(status == 0, f"ila-nva: exit status {status}\n{self.log()[-2000:]}")


def follow(node, authority):
    """The node has no mapping file any more: it asks the authority."""
    node.config.pop("mappings", None)
    node.config["nva"] = {"endpoints": [f"unix:{authority.socket}"]}
