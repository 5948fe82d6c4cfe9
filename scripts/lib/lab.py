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
import time

SIR = "2001:db8:dddd:0:"
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Something was not as it should be; the text says what."""


class Skipped(Exception):
    """This machine lacks what the test needs; the text says what."""


def need(program):
    """Skips a test where `program` is not installed."""
    if not shutil.which(program):
        raise Skipped(f"{program} is not installed")


def expect(truth, what):
    """The one assertion of tests and demo."""
    if not truth:
        raise Failed(what)


def _die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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

    def wait(self, timeout=30):
        """Its exit status."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            raise Failed(f"`{self.words}` did not end within {timeout} s") from None

    def send(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=10):
        self.send(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(timeout)

    def wait_for(self, text, timeout=10):
        """Until the output holds `text`."""
        until(lambda: text in self.output() or not self.alive(), timeout, f"`{self.words}` to say `{text}`")
        expect(text in self.output(), f"`{self.words}` ended without saying `{text}`:\n{self.output()[-2000:]}")


def until(true, timeout, what, step=0.05):
    """Waits until `true()` is; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {timeout} s in vain for {what}")
        time.sleep(step)


class Ns:
    """A network namespace with a Linux stack."""

    def __init__(self, lab, name):
        self.lab, self.name, self.full = lab, name, f"{lab.tag}-{name}"
        lab.host(["ip", "netns", "add", self.full])
        lab.namespaces.append(self)
        self.run("ip link set lo up")
        # Limits of the stacks' own ICMPv6 errors would hide what the nodes do.
        self.sysctl("net.ipv6.icmp.ratelimit", 0)

    def command(self, words):
        words = words.split() if isinstance(words, str) else [str(word) for word in words]
        return ["ip", "netns", "exec", self.full, *words]

    def run(self, words, check=True, timeout=30, stdin=None):
        """Runs a program to its end; its output as text."""
        return self.lab.host(self.command(words), check, timeout, stdin).stdout

    def status(self, words, timeout=30):
        """Exit status and output."""
        done = self.lab.host(self.command(words), False, timeout)
        return done.returncode, done.stdout

    def spawn(self, words, env=None):
        """Starts a program that goes on by itself."""
        return self.lab.spawn(self.command(words), f"{self.name}", env)

    def sysctl(self, key, value):
        self.run(["sysctl", "-qw", f"{key}={value}"])

    def quiet(self):
        """The kernel keeps away from IPv6 here: the interfaces are the node's."""
        self.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        self.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        return self

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

    def nstat(self):
        """The stack's counters since the namespace was made."""
        text = self.run("nstat -asz --json")
        return json.loads(text)["kernel"]

    def ping(self, to, count=3, interval=0.1, wait=1, extra=()):
        """Pings; how many answers came, and the output."""
        words = ["ping", "-6", "-n", "-c", count, "-i", interval, "-W", wait, *extra, to]
        _, text = self.status(words, timeout=count * (interval + wait) + 15)
        return answers(text), text

    def reaches(self, to, count=3, **more):
        # Three attempts: what else a machine does may hold up a worker for longer than its ring holds packets. What
        # must lose nothing at all is tested apart.
        for _ in range(3):
            got, text = self.ping(to, count, **more)
            if got == count:
                return
            time.sleep(1)
        raise Failed(f"{self.name} pings {to}: {got} of {count} answers\n{text}")

    def traceroute(self, to, *extra):
        """The hops' addresses, `*` for none, and the output."""
        words = ["traceroute", "-6", "-n", "-q", 1, "-w", 2, "-m", 8, "-N", 1, *extra, to]
        text = self.run(words, check=False, timeout=60)
        hops = [line.split() for line in text.splitlines()[1:]]
        return [hop[1] for hop in hops if len(hop) > 1], text

    def capture(self, device, what):
        """Starts tcpdump; ready when this returns."""
        return Capture(self, device, what)


class Flows:
    """UDP packets of many flows from a namespace: source ports tell them apart."""

    def __init__(self, ns, source, to):
        self.ns, self.source, self.to = ns, source, to

    def send(self, ports, each=1):
        code = (
            "import socket\n"
            f"for n in range({each}):\n"
            f" for port in {list(ports)!r}:\n"
            "  s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
            f"  s.bind(({self.source!r}, port))\n"
            f"  s.sendto(b'flow', ({self.to!r}, 9))\n"
            "  s.close()\n"
        )
        self.ns.run(["/usr/bin/python3", "-c", code])


def answers(text):
    """The answers that ping counted."""
    for line in text.splitlines():
        if " received" in line:
            return int(line.split(",")[1].split()[0])
    return 0


class Capture:
    def __init__(self, ns, device, what):
        self.file = ns.lab.path(f"{ns.name}-{device}-{ns.lab.number()}.pcap")
        words = ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", self.file, what]
        self.process = ns.spawn(words)
        self.process.wait_for("listening on")

    def frames(self, at_least=0, timeout=5):
        """Ends the capture; the frames."""
        import packets

        if at_least:
            until(lambda: len(packets.read_pcap(self.file)) >= at_least, timeout, f"{at_least} packets in a capture")
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
        self.process.wait_for("forwarding", 30)
        until(lambda: os.path.exists(self.socket), 5, "the admin socket")
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

    def host(self, words, check=True, timeout=30, stdin=None):
        words = [str(word) for word in words]
        try:
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=timeout, input=stdin, check=False, preexec_fn=_die_with_parent,
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
                preexec_fn=_die_with_parent,
            )  # fmt: skip
        process = Process(popen, path, " ".join(words))
        self.processes.append(process)
        return process

    def ns(self, name):
        return Ns(self, name)

    def wire(self, a, a_device, b, b_device, mtu=1500):
        """A veth pair. What the kernel leaves to a device nobody does on a veth: checksums must be in the packet."""
        self.host(
            ["ip", "link", "add", a_device, "netns", a.full, "mtu", mtu, "type", "veth",
             "peer", "name", b_device, "netns", b.full, "mtu", mtu]
        )  # fmt: skip
        for ns, device in ((a, a_device), (b, b_device)):
            ns.run(["ethtool", "-K", device, "rx", "off", "tx", "off", "gso", "off", "tso", "off", "gro", "off"])
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
