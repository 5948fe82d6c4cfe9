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


class Etcd:
    """Members of an etcd on the loopback of a namespace; with certificates of their own if `tls` makes them."""

    def __init__(self, lab, ns, members=1, tls=None):
        self.lab, self.ns, self.tls = lab, ns, tls
        self.names = [f"etcd{n + 1}" for n in range(members)]
        self.processes = {}

    def _address(self, name, port):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{port + 10 * self.names.index(name)}"

    def endpoints(self):
        return [self._address(name, 2379) for name in self.names]

    def start(self, *names):
        """Starts all members, or these again."""
        for name in names or self.names:
            client, peer = self._address(name, 2379), self._address(name, 2380)
            words = [
                "etcd", "--name", name, "--data-dir", self.lab.path(name),
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", ",".join(f"{each}={self._address(each, 2380)}" for each in self.names),
                "--heartbeat-interval", "100", "--election-timeout", "1000",
            ]  # fmt: skip
            if self.tls:
                for role in ("", "peer-"):
                    words += [f"--{role}client-cert-auth", f"--{role}trusted-ca-file", self.tls["authorities"]]
                    words += [f"--{role}cert-file", self.tls["certificate"], f"--{role}key-file", self.tls["key"]]
            self.processes[name] = self.ns.spawn(words)
        until(self.answers, "etcd to answer")
        return self

    def ctl(self, *words, check=True):
        """Runs etcdctl; exit status and output."""
        tls = []
        if self.tls:
            tls = ["--cacert", self.tls["authorities"], "--cert", self.tls["certificate"], "--key", self.tls["key"]]
        alive = [self._address(name, 2379) for name, process in self.processes.items() if process.alive()]
        command = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", ",".join(alive), *tls, *words]
        status, output = self.ns.status(command)
        expect(not check or status == 0, f"etcdctl {' '.join(words)}:\n{output}")
        return status, output

    def answers(self):
        return self.ctl("get", "/", check=False)[0] == 0

    def leader(self):
        """The name of the member that leads."""
        _, output = self.ctl("endpoint", "status", "-w", "json")
        for status in json.loads(output[output.index("[") :]):
            if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                return next(name for name in self.names if self._address(name, 2379) == status["Endpoint"])
        return None

    def kill(self, name):
        self.processes[name].stop(signal.SIGKILL)

    def stop(self):
        for process in self.processes.values():
            process.stop(signal.SIGTERM)


class Authority:
    """An ila-nva process on a Unix socket, with certificates on the management network. Its store is a file of its own,
    or an etcd, which others share."""

    def __init__(self, lab, ns, domains, nves, tls=None, name="nva1", etcd=None, **sessions):
        self.lab, self.ns = lab, ns
        self.socket, self.store = lab.path(f"{name}.sock"), lab.path("nva.redb")
        self.file = lab.path(f"{name}.yaml")
        port = PORT + int(name.removeprefix("nva")) - 1
        self.endpoint = f"https://192.168.127.1:{port}" if tls else f"unix:{self.socket}"
        store = {"path": self.store}
        if etcd:
            store = {"etcd": {"endpoints": etcd.endpoints(), "prefix": "/ilagate/lab", **(etcd.tls or {})}}
        self.config = {
            "nva": {"name": name},
            "listen": [self.endpoint],
            "store": store,
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


def follow(node, *authorities, tls=None):
    """The node has no mapping file any more: it asks the first authority that answers."""
    node.config.pop("mappings", None)
    node.config["nva"] = {"endpoints": [authority.endpoint for authority in authorities]}
    if tls:
        node.config["nva"]["tls"] = tls
