"""A laboratory for the demo and the system tests: network namespaces, veth links, Linux stacks and ilagate nodes.

Everything that a Lab makes carries its tag and is gone when the `with` block ends, however it ends: processes are
ended by their id (and by the kernel should this program be killed), namespaces are deleted, files removed.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import packets
from books import stack
from traffic import Traffic
from wait import PATIENCE_S, Failed, Skipped, comes, expect, until

SIR = "2001:db8:dddd:0:"
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
# A machine that runs nodes has nothing else to do; one that tests them may.
NICE = -10


def _prepare():
    """What each process of a laboratory does first: it dies with us, and comes before others' work on this machine."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Shells have what they start in the background ignore it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        # Linux shares processors out by sessions first, where autogroups are on.
        os.setsid()
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(NICE))
    except OSError:
        pass


def _interrupted(number, _frame):
    raise SystemExit(128 + number)


def binary(name):
    """The program to test: ILAGATE_BIN_DIR says where, or else the newest build is taken."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    directory = os.environ.get("ILAGATE_BIN_DIR")
    if directory:
        return os.path.join(directory, name)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
    built = [os.path.join(target, profile, name) for profile in ("release", "debug")]
    built = [path for path in built if os.path.exists(path)]
    expect(built, f"{name} is not built: cargo build --release")
    return max(built, key=os.path.getmtime)


class Process:
    """A program in a namespace, its output in a file."""

    def __init__(self, popen, path, words):
        self.popen, self.path, self.words = popen, path, words

    def output(self):
        with open(self.path, errors="replace") as file:
            return file.read()

    def alive(self):
        return self.popen.poll() is None

    def wait(self, timeout=PATIENCE_S):
        """Its exit status."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            raise Failed(f"`{self.words}` did not end within {timeout} s") from None

    def send(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=PATIENCE_S):
        self.send(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(timeout)

    def wait_for(self, text, times=1):
        """Until the output holds `text`, so many times."""
        said = lambda: self.output().count(text) >= times  # noqa: E731
        until(lambda: said() or not self.alive(), f"`{self.words}` to say `{text}`")
        expect(said(), f"`{self.words}` ended without saying `{text}`:\n{self.output()[-2000:]}")


class Ns(Traffic):
    """A network namespace with a Linux stack."""

    def __init__(self, lab, name):
        self.lab, self.name, self.full = lab, name, f"{lab.tag}-{name}"
        self.has_node = False
        lab.host(["ip", "netns", "add", self.full])
        lab.namespaces.append(self)
        self.run("ip link set lo up")
        # Limits of the stacks' own ICMPv6 errors would hide what the nodes do.
        self.sysctl("net.ipv6.icmp.ratelimit", 0)

    def command(self, words):
        words = words.split() if isinstance(words, str) else [str(word) for word in words]
        return ["ip", "netns", "exec", self.full, *words]

    def run(self, words, check=True, timeout=2 * PATIENCE_S, stdin=None):
        """Runs a program to its end; its output as text."""
        return self.lab.host(self.command(words), check, timeout, stdin).stdout

    def status(self, words, timeout=2 * PATIENCE_S):
        """Exit status and output."""
        done = self.lab.host(self.command(words), False, timeout)
        return done.returncode, done.stdout

    def spawn(self, words, env=None):
        """Starts a program that goes on by itself."""
        return self.lab.spawn(self.command(words), f"{self.name}", env)

    def sysctl(self, key, value):
        self.run(["sysctl", "-qw", f"{key}={value}"])

    def sysctl_value(self, key):
        return self.run(["sysctl", "-n", key]).strip()

    def of_a_node(self):
        """A node will run here. It silences the kernel on its interfaces by itself, and nobody else does."""
        self.has_node = True
        return self

    def only_switches(self, device):
        """A bridge, or an interface of one: the kernel passes frames on there, and has no address of its own."""
        self.sysctl(f"net.ipv6.conf.{device}.disable_ipv6", 1)

    def no_offloads(self, device):
        """Nothing is left to the device."""
        self.run(["ethtool", "-K", device, "tx", "off", "gso", "off", "tso", "off", "gro", "off"])

    def router(self):
        self.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.sysctl("net.ipv6.conf.default.accept_ra", 0)
        return self

    def addr(self, device, address):
        self.run(f"ip -6 addr add {address} dev {device} nodad")

    def route(self, words):
        self.run(f"ip -6 route replace {words}")

    def mac(self, device):
        return self.run(["cat", f"/sys/class/net/{device}/address"]).strip()

    def counters(self):
        """The stack's counters since the namespace was made, by the names of nstat."""
        return stack(self.full)

    def capture(self, device, what):
        """Starts tcpdump; ready when this returns."""
        return Capture(self, device, what)


class Capture:
    """A running tcpdump."""

    def __init__(self, ns, device, what):
        self.file = ns.lab.path(f"{ns.name}-{device}-{ns.lab.number()}.pcap")
        words = ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", self.file, what]
        self.process = ns.spawn(words)
        self.process.wait_for("listening on")

    def count(self):
        """Frames up to now."""
        return len(packets.read_pcap(self.file))

    def _has_written_all(self):
        told = self.process.output().count("received by filter")
        self.process.send(signal.SIGUSR1)
        self.process.wait_for("received by filter", told + 1)
        last = [line for line in self.process.output().splitlines() if "received by filter" in line][-1]
        captured, received, _ = (int(word) for word in last.split() if word.isdigit())
        return captured == received

    def frames(self, at_least=0):
        """Ends the capture when all that was seen is written; the frames."""
        if at_least:
            until(lambda: self.count() >= at_least, f"{at_least} packets in a capture")
        comes(self._has_written_all, PATIENCE_S)
        self.process.stop(signal.SIGINT)
        return packets.read_pcap(self.file)


class Node:
    """An ilagate process."""

    def __init__(self, lab, ns, config):
        self.lab, self.ns, self.config = lab, ns, config
        self.socket = config["admin"]["socket"]
        self.file = self.socket.removesuffix("sock") + "yaml"
        self.process = None

    def write(self):
        """Writes the configuration: JSON is YAML."""
        with open(self.file, "w") as file:
            json.dump(self.config, file, indent=2)
        return self

    def start(self):
        self.launch()
        return self.ready()

    def launch(self):
        self.write()
        env = dict(os.environ, RUNTIME_DIRECTORY=self.lab.directory)
        self.process = self.ns.spawn([binary("ilagate"), "run", "--config", self.file], env)

    def ready(self):
        self.process.wait_for("forwarding")
        until(lambda: os.path.exists(self.socket), "the admin socket")
        return self

    def log(self):
        return self.process.output()

    def ctl(self, *words, check=True):
        """Runs ilactl; its output."""
        done = self.lab.host([binary("ilactl"), "--socket", self.socket, *words], check)
        return done.stdout

    def show(self, *words):
        """Runs ilactl --json; the value."""
        return json.loads(self.ctl("--json", *words))

    def drops(self):
        """Packets lost by reason, told or not."""
        return {
            drop["reason"]: drop["dropped"] + drop["answered"]
            for drop in self.show("drops", "--all")
            if drop["dropped"] or drop["answered"]
        }

    def counts(self, reason, at_least=1, before=0):
        """Waits until so many more packets than before were dropped for this reason."""
        more = lambda: self.drops().get(reason, 0) - before  # noqa: E731
        try:
            until(lambda: more() >= at_least, f"{at_least} packets to be dropped as {reason}")
        except Failed as why:
            raise Failed(f"{self.ns.name}: {why}: {self.drops()}") from None
        return more()

    def reload(self):
        return self.write().ctl("node", "reload")

    def metrics(self):
        """The Prometheus endpoint: samples by name with labels."""
        text = self.ns.run("curl -sfg http://127.0.0.1:9464/metrics")
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def probe(self, path):
        """Status and text of a probe."""
        text = self.ns.run(f"curl -sg -w %{{http_code}} http://127.0.0.1:9464/{path}")
        return int(text[-3:]), text[:-3]

    def stop(self):
        """Ends it as an operator would, and checks that it ends well."""
        status = self.process.stop(signal.SIGTERM)
        expect(status == 0, f"{self.ns.name}: exit status {status}\n{self.log()[-2000:]}")
        expect("every mbuf is back" in self.log(), f"{self.ns.name}: mbufs did not come back\n{self.log()[-2000:]}")


class Lab:
    """Use as `with Lab() as lab:`."""

    def __init__(self, name="ila"):
        run = os.environ.get("ILAGATE_LAB")
        self.tag = f"{run}-{name}{os.getpid()}" if run else f"{name}{os.getpid()}"
        self.namespaces, self.processes, self.nodes, self.count = [], [], [], 0

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
        self.directory = tempfile.mkdtemp(prefix=f"{self.tag}-")
        return self

    def __exit__(self, kind, error, _trace):
        if kind is not None and issubclass(kind, Exception) and kind is not Skipped:
            for node in self.nodes:
                if node.process:
                    lines = node.log().splitlines()[-12:]
                    print(f"--- log of {node.ns.name}:", *lines, sep="\n    ", file=sys.stderr)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in self.processes:
            process.send(signal.SIGTERM)
        for process in reversed(self.processes):
            process.stop(timeout=5)
        for ns in self.namespaces:
            subprocess.run(["ip", "netns", "del", ns.full], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def path(self, name):
        return os.path.join(self.directory, name)

    def number(self):
        self.count += 1
        return self.count

    def host(self, words, check=True, timeout=2 * PATIENCE_S, stdin=None):
        words = [str(word) for word in words]
        try:
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=timeout, input=stdin, check=False, preexec_fn=_prepare,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"`{' '.join(words)}` did not end within {timeout} s") from None
        if check and done.returncode != 0:
            raise Failed(f"`{' '.join(words)}` says {done.returncode}:\n{done.stdout}")
        return done

    def spawn(self, words, name, env=None):
        path = self.path(f"{name}-{self.number()}.out")
        with open(path, "w") as out:
            popen = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                preexec_fn=_prepare,
            )  # fmt: skip
        process = Process(popen, path, " ".join(words))
        self.processes.append(process)
        return process

    def ns(self, name):
        return Ns(self, name)

    def wire(self, a, a_device, b, b_device, mtu=1500):
        """A veth pair. What a kernel leaves to its end nobody does: checksums must be in the packet."""
        self.host(
            ["ip", "link", "add", a_device, "netns", a.full, "mtu", mtu, "type", "veth",
             "peer", "name", b_device, "netns", b.full, "mtu", mtu]
        )  # fmt: skip
        for ns, device in ((a, a_device), (b, b_device)):
            if not ns.has_node:
                ns.no_offloads(device)
            ns.run(f"ip link set {device} up")

    def node(self, ns, name, core, **config):
        """A node that is not yet started: `config` are the sections of its configuration."""
        base = {
            "node": {"name": f"{self.tag}-{name}"[-32:].lstrip("-")},
            "dpdk": {"workers": [core], "idle": "backoff", "huge": False, "memory_mib": 64},
            "mbufs": {"count": 4096, "cache": 128},
            "sir_domains": [{"name": "tasks", "prefix": f"{SIR}:/64"}],
            "metrics": {"listen": "127.0.0.1:9464"},
            "admin": {"socket": self.path(f"{self.tag}-{name}.sock")},
        }
        node = Node(self, ns, {**base, **config})
        self.nodes.append(node)
        return node
