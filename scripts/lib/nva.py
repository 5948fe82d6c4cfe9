"""A running `ila-nva` on a Unix socket in the laboratory's directory, and nodes that know nothing but it."""

import json
import os
import signal

from lab import binary
from wait import Skipped, expect, until


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


class EtcdPki:
    """Certificates of an etcd: its members, its administrator, and the authorities, who may use one prefix."""

    SUBJECTS = {"member": "IP:127.0.0.1", "root": None, "ilagate": None}

    def __init__(self, lab):
        self.lab, self.directory = lab, lab.path("etcd-pki")
        os.mkdir(self.directory)
        self._openssl("req", "-x509", "-subj", "/CN=etcd", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")
        for name, address in self.SUBJECTS.items():
            self._openssl("req", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            with open(os.path.join(self.directory, "extensions"), "w") as file:
                file.write("extendedKeyUsage=serverAuth,clientAuth\n" if address else "extendedKeyUsage=clientAuth\n")
                file.write(f"subjectAltName={address}\n" if address else "")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
                          "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.pem")  # fmt: skip

    def _openssl(self, what, *words):
        at = [word if word.startswith("-") or "." not in word and word != "extensions"
              else os.path.join(self.directory, word) for word in words]  # fmt: skip
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"] if what == "req" else []
        self.lab.host(["openssl", what, *new, *at])

    def files(self, name):
        """As configurations name them."""
        at = lambda file: os.path.join(self.directory, file)  # noqa: E731
        return {"certificate": at(f"{name}.pem"), "key": at(f"{name}.key"), "authorities": at("ca.pem")}


def newer_etcd():
    """The directory of etcd 3.5, which scripts/setup fetches beside the build."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    directory = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target")), "etcd-3.5")
    if not os.access(os.path.join(directory, "etcd"), os.X_OK):
        raise Skipped(f"there is no {directory}/etcd; scripts/setup fetches it")
    return directory


class Etcd:
    """Members of an etcd on the loopback of a namespace. With certificates, authorities may use one prefix only."""

    PREFIX = "/ilagate/lab"

    def __init__(self, lab, ns, members=1, pki=None, directory=None):
        self.lab, self.ns, self.pki = lab, ns, pki
        self.program, self.client = (
            os.path.join(directory, name) if directory else name for name in ("etcd", "etcdctl")
        )
        self.tls = pki and pki.files("ilagate")
        self.names = [f"etcd{n + 1}" for n in range(members)]
        self.processes = {}

    def _address(self, name, port):
        return f"{'https' if self.pki else 'http'}://127.0.0.1:{port + 10 * self.names.index(name)}"

    def endpoints(self):
        return [self._address(name, 2379) for name in self.names]

    def start(self, *names):
        """Starts all members, or these again."""
        for name in names or self.names:
            client, peer = self._address(name, 2379), self._address(name, 2380)
            words = [
                self.program, "--name", name, "--data-dir", self.lab.path(name),
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", ",".join(f"{each}={self._address(each, 2380)}" for each in self.names),
                "--heartbeat-interval", "100", "--election-timeout", "1000",
            ]  # fmt: skip
            if self.pki:
                own = self.pki.files("member")
                for role in ("", "peer-"):
                    words += [f"--{role}client-cert-auth", f"--{role}trusted-ca-file", own["authorities"]]
                    words += [f"--{role}cert-file", own["certificate"], f"--{role}key-file", own["key"]]
            self.processes[name] = self.ns.spawn(words)
        until(self.answers, "etcd to answer")
        return self

    def restrict(self):
        """Who comes with the certificate `ilagate` may use the prefix, and who comes with `root` everything."""
        for words in (
            "role add ilagate", f"role grant-permission --prefix=true ilagate readwrite {self.PREFIX}/",
            "user add ilagate --no-password", "user grant-role ilagate ilagate",
            "user add root --no-password", "user grant-role root root", "auth enable",
        ):  # fmt: skip
            self.ctl(*words.split())
        return self

    def ctl(self, *words, check=True):
        """Runs etcdctl; exit status and output."""
        tls = []
        if self.pki:
            own = self.pki.files("root")
            tls = ["--cacert", own["authorities"], "--cert", own["certificate"], "--key", own["key"]]
        alive = [self._address(name, 2379) for name, process in self.processes.items() if process.alive()]
        command = [self.client, "--endpoints", ",".join(alive), *tls, *words]
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
            store = {"etcd": {"endpoints": etcd.endpoints(), "prefix": etcd.PREFIX, **(etcd.tls or {})}}
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

    def write(self):
        """Writes the configuration: JSON is YAML."""
        with open(self.file, "w") as file:
            json.dump(self.config, file, indent=2)
        return self.file

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


def embed(node, authority):
    """The node runs the authority itself."""
    authority.write()
    node.config.pop("mappings", None)
    node.config["nva"] = {"embedded": {"config": authority.file}}


def follow(node, *authorities, tls=None):
    """The node has no mapping file any more: it asks the first authority that answers."""
    node.config.pop("mappings", None)
    node.config["nva"] = {"endpoints": [authority.endpoint for authority in authorities]}
    if tls:
        node.config["nva"]["tls"] = tls
