"""A real guest: QEMU without KVM, the kernel of Debian's cloud images, and busybox as all of its programs.

Its interface is a TAP device of the host's namespace, and a port of the node there. `scripts/setup guest` fetches what it
boots from.
"""

import glob
import gzip
import os
import sys

from moves import GATEWAY4
from wait import PATIENCE_S, Skipped, expect, need, until

MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover",
           "net_failover", "virtio_net"]  # fmt: skip
MEMORY_MIB = 96
# What the guest's first program is. It takes its addresses from the kernel's command line.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for module in {modules}; do insmod /mod/$module.ko 2>/dev/null; done
for word in $(cat /proc/cmdline); do case $word in guest.*) eval "${{word#guest.}}";; esac; done
ifconfig lo up
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip addr add $ipv4/24 dev eth0
ip addr add $ipv6/$plen dev eth0
ip link set eth0 up
ip route add default via $gateway
echo READY
until ip -6 route show default | grep -q via; do sleep 1; done
echo ROUTER
while :; do nc -l -p 7000 | md5sum; done
"""


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def directory():
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "guest")


def newc(entries):
    """An archive of files as the kernel unpacks them: path, mode, content, device numbers."""
    out = bytearray()
    for number, (path, mode, content, (major, minor)) in enumerate([*entries, ("TRAILER!!!", 0, b"", (0, 0))], 1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def image(to):
    """Kernel and first file system of guests; the latter is written to `to`."""
    for program in ("qemu-system-x86_64", "busybox"):
        need(program)
    kernels = sorted(glob.glob(os.path.join(directory(), "boot", "vmlinuz-*")))
    if not kernels:
        raise Skipped(f"there is no kernel in {directory()}; scripts/setup guest fetches one")
    entries = [(path, 0o40755, b"", (0, 0)) for path in ("proc", "sys", "dev", "bin", "mod")]
    entries += [("dev/console", 0o20600, b"", (5, 1)), ("dev/null", 0o20666, b"", (1, 3))]
    with open("/bin/busybox", "rb") as file:
        entries.append(("bin/busybox", 0o100755, file.read(), (0, 0)))
    entries.append(("init", 0o100755, INIT.format(modules=" ".join(MODULES)).encode(), (0, 0)))
    for module in MODULES:
        [path] = glob.glob(os.path.join(directory(), "lib", "modules", "*", "kernel", "**", f"{module}.ko"), recursive=True)
        with open(path, "rb") as file:
            entries.append((f"mod/{module}.ko", 0o100644, file.read(), (0, 0)))
    with gzip.open(to, "wb", compresslevel=1) as file:
        file.write(newc(entries))
    return kernels[-1], to


class Machine:
    """A guest in the place of `moves.Machine`: it runs at one host, and may run at another one."""

    def __init__(self, lab, name, number, addresses):
        self.lab, self.name, self.addresses = lab, name, addresses
        self.mac = f"02:00:00:00:02:{number:02x}"
        self.kernel, self.files = image(lab.path("initrd.gz"))
        self.hosts, self.processes, self.runs_at = {}, {}, None

    def cable(self, _lab, host):
        """The TAP device of the guest at a host."""
        host.run(f"ip tuntap add dev {self.name} mode tap")
        host.run(f"ip link set {self.name} up")
        self.hosts[host.name] = host
        return self.name

    def console(self, host):
        with open(self.lab.path(f"console-{host}"), errors="replace") as file:
            return file.read()

    def start(self, host, plen):
        """Boots it at a host."""
        ipv4, ipv6 = self.addresses
        self._qemu(host, f"guest.ipv4={ipv4} guest.ipv6={ipv6} guest.plen={plen} guest.gateway={GATEWAY4}")
        until(lambda: "READY" in self.console(host), "the guest to boot", timeout=4 * PATIENCE_S)
        self.runs_at = host

    def has_router(self):
        return "ROUTER" in self.console(self.runs_at)

    def expects(self, host):
        """QEMU at another host, which waits for the guest."""
        path = self.lab.path(f"incoming-{host}")
        if os.path.exists(path):
            os.remove(path)
        self._qemu(host, "", "-incoming", f"unix:{path}")
        until(lambda: os.path.exists(path), "QEMU to wait for the guest")
        return f"unix:{path}"

    def control(self, host):
        """Path of the socket on which QEMU listens for QMP."""
        return self.lab.path(f"qmp-{host}")

    def _qemu(self, host, line, *more):
        # Checksums must be in the packet: a node forwards what it gets.
        off = ",".join(f"{offload}=off" for offload in ("csum", "gso", "guest_csum", "guest_tso4", "guest_tso6"))
        control = self.control(host)
        if os.path.exists(control):
            os.remove(control)
        # Whoever waits for a word on the console reads it before QEMU has opened it.
        open(self.lab.path(f"console-{host}"), "w").close()
        words = [
            "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max", "-M", "pc-i440fx-7.2,usb=off,vmport=off,hpet=off",
            "-m", MEMORY_MIB, "-smp", 1, "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", self.kernel, "-initrd", self.files,
            "-append", f"console=ttyS0 quiet loglevel=1 panic=-1 random.trust_cpu=on mitigations=off {line}",
            "-serial", f"file:{self.lab.path('console-' + host)}", "-qmp", f"unix:{control},server=on,wait=off",
            "-netdev", f"tap,id=n0,ifname={self.name},script=no,downscript=no,vhost=off",
            "-device", f"virtio-net-pci,netdev=n0,mac={self.mac},romfile=,{off}", *more,
        ]  # fmt: skip
        self.processes[host] = self.hosts[host].spawn(words)
        alive = self.processes[host].alive
        until(lambda: os.path.exists(control) or not alive(), "QEMU to listen")
        expect(alive(), f"QEMU ended:\n{self.processes[host].output()}")

    def quits(self, host):
        """Ends QEMU at a host."""
        self.processes.pop(host).stop()

    def migrates_alone(self, old, new):
        """QEMU migrates the guest, and nobody tells anybody; for how many milliseconds it was paused."""
        sys.path.insert(0, os.path.join(ROOT, "examples"))
        from qemu_migrate import Qmp

        uri, source = self.expects(new), Qmp(self.control(old))
        source.does("migrate", uri=uri)
        state = {}

        def done():
            state.update(source.does("query-migrate"))
            return state["status"] in ("completed", "failed")

        until(done, "QEMU to migrate the guest")
        expect(state["status"] == "completed", f"{state}")
        self.runs_at = new
        return state["downtime"]
