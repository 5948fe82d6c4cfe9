"""Prints ratios of ilagate against dpdk-testpmd (io mode) from one run, alternating on the same DPDK devices.

testpmd `io` receives and sends without looking at a packet: the floor of cost that no router can beat. Each side is
measured in windows of 50 ms on the same core, in turns, and the best window of each counts: other work on the
machine only ever adds, and on a shared one there is no undisturbed second. A ratio is reference time by our time; 1
would be free of charge.
"""

import argparse
import contextlib
import ctypes
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import bench_authority

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IO = "testpmd io"
RATE = "five million a second"
UPDATES = "the same without updates"
ONE_WORKER = "one worker"
# case: (reference, least ratio, aim)
CASES = {
    "sir2ila_1k": (IO, 0.60, 0.70),
    "sir2ila_1m": (IO, 0.50, 0.60),
    "sir2ila_10m": (IO, 0.45, 0.55),
    "ila2sir_1k": (IO, 0.60, 0.70),
    "ila2sir_1m": (IO, 0.50, 0.60),
    "route6_100k": (IO, 0.50, 0.60),
    "tenant6_out_1m": (IO, 0.45, 0.55),
    "tenant6_in_1m": (IO, 0.45, 0.55),
    "tenant4_out_1m": (IO, 0.40, 0.50),
    "tenant4_in_1m": (IO, 0.40, 0.50),
    "tunnel6_1m": (RATE, 1.00, 1.50),
    "decap6_1m": (RATE, 1.00, 1.50),
    "arp_1m": (RATE, 1.00, 2.00),
    "ns_1m": (RATE, 1.00, 2.00),
    "sir2ila_1m_churn": (UPDATES, 0.97, 0.99),
    "two_workers": (ONE_WORKER, 1.90, 2.00),
}
# One case of each kind for --check, with small tables.
CHECKED = ("sir2ila_1k", "tenant4_out_1m", "tunnel6_1m", "decap6_1m", "arp_1m", "sir2ila_1m_churn", "two_workers")
# Those that criterion runs, without a device.
CRITERION = ["stages", "flow_cache"]
# As in benches/forward.rs.
WINDOW_S = 0.05
# A window of testpmd counts only if both of its counters came within this share of it.
PROMPT_SHARE = 0.01
# What a worker may leave unforwarded: nothing, but for the rounding of the figure.
DONE_SHARE = 0.999999
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(*words):
    print(*words, flush=True)


class Fault(Exception):
    """The bench does not work; the text says why."""


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def run(command, **more):
    return subprocess.run(command, text=True, check=False, preexec_fn=_die_with_parent, **more)


def executables(names, native=False, check=False):
    """Builds benches and says where they are. For --check they are built as tests are, which takes seconds."""
    env = dict(os.environ)
    if native:
        env["RUSTFLAGS"] = "-C target-cpu=native"
    command = ["cargo", "build"] if check else ["cargo", "bench", "--no-run"]
    for name in names:
        command += ["--bench", name]
    built = run(
        [*command, "--locked", "--message-format=json-render-diagnostics"], cwd=ROOT, env=env, stdout=subprocess.PIPE
    )
    if built.returncode:
        raise Fault(f"{' and '.join(names)} do not build")
    found = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["executable"]:
            found[message["target"]["name"]] = message["executable"]
    missing = [name for name in names if name not in found]
    if missing:
        raise Fault(f"cargo names no executable for {' and '.join(missing)}")
    return [found[name] for name in names]


def free_pages():
    with open("/proc/meminfo") as file:
        return int(re.search(r"HugePages_Free:\s+(\d+)", file.read()).group(1))


@contextlib.contextmanager
def hugepages(needed):
    """Enough 2 MiB pages while the bench runs, and what there was before afterwards."""
    setting, directory = "/proc/sys/vm/nr_hugepages", "/dev/hugepages"

    def write(count):
        with open(setting, "w") as file:
            file.write(str(count))

    with contextlib.ExitStack() as undo:
        with open(setting) as file:
            before = int(file.read())
        undo.callback(write, before)
        free = free_pages()
        if free < needed:
            write(before + needed - free)
            free = free_pages()
        if free < needed:
            raise Fault(f"{free} huge pages are free, {needed} are needed; free memory")
        with open("/proc/mounts") as file:
            mounted = any(line.split()[2] == "hugetlbfs" for line in file)
        if not mounted:
            if not os.path.isdir(directory):
                os.mkdir(directory)
                undo.callback(os.rmdir, directory)
            if run(["mount", "-t", "hugetlbfs", "none", directory]).returncode:
                raise Fault(f"{directory} cannot be mounted")
            undo.callback(run, ["umount", directory])
        yield


@contextlib.contextmanager
def workplace(pages):
    """A directory for everything that the bench writes, DPDK's own files too; gone afterwards, and so are the pages."""
    with tempfile.TemporaryDirectory(prefix="ilagate-bench-") as directory, hugepages(pages):
        os.environ["RUNTIME_DIRECTORY"] = directory
        yield directory


def telemetry(path, begin):
    """A connection to a DPDK process's telemetry, once it has one."""
    while time.monotonic() - begin < 30:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(path)
            connection.settimeout(5)
            connection.recv(16384)
            return connection
        except OSError:
            connection.close()
            time.sleep(0.05)
    return None


def testpmd(bench, pcap, packets):
    """Nanoseconds a packet of testpmd io, in its best window."""
    mbufs = 262144 if packets > 10_000 else 16384
    prefix = f"floor{os.getpid()}"
    worker, other = bench.cores
    command = ["dpdk-testpmd", "-l", f"{other},{worker}", "--main-lcore", str(other), "--no-pci",
               "--file-prefix", prefix, "--huge-unlink",
               "--vdev", f"net_pcap0,rx_pcap={pcap},infinite_rx=1", "--vdev", "net_null0,no-rx=1",
               "--", "--forward-mode=io", f"--total-num-mbufs={mbufs}", "--stats-period", "3600",
               "--auto-start"]  # fmt: skip
    log = tempfile.TemporaryFile("w+", dir=bench.directory)
    process = subprocess.Popen(
        command, text=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent
    )
    best = None
    try:
        begin = time.monotonic()
        connection = telemetry(os.path.join(bench.directory, "dpdk", prefix, "dpdk_telemetry.v2"), begin)

        def received():
            """Packets so far, and when that was."""
            before = time.monotonic()
            connection.send(b"/ethdev/stats,0")
            answer = json.loads(connection.recv(16384))
            # One that was long under way says when it was to within its time only: not one to measure with.
            after = time.monotonic()
            return answer["/ethdev/stats"]["ipackets"], (before + after) / 2, after - before

        while connection and not best and time.monotonic() - begin < 30:
            time.sleep(0.3)
            best = received()[0] and math.inf
        end = time.monotonic() + bench.seconds
        while connection and time.monotonic() < end:
            count, at, took = received()
            time.sleep(WINDOW_S)
            later, then, took_then = received()
            if later > count and (bench.check or took + took_then < WINDOW_S * PROMPT_SHARE):
                best = min(best, (then - at) * 1e9 / (later - count))
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if best == math.inf:
        raise Fault("testpmd had no undisturbed window: other work takes the cores")
    if not best:
        log.seek(0)
        raise Fault("testpmd measured nothing:\n" + log.read()[-1500:])
    return best


def ours(bench, case, cores, seconds=None):
    """What benches/forward.rs says of one case."""
    command = bench.forward(case) + ["--seconds", str(seconds or bench.seconds)]
    for core in cores:
        command += ["--core", str(core)]
    done = run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    if done.returncode:
        raise Fault(f"{case} failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if result["received"] == 0:
        raise Fault(f"{case} received nothing")
    if not result["done_share"] >= DONE_SHARE:
        raise Fault(f"{case} forwarded or answered only {result['done_share']:.6f} of what it received")
    return result


class Bench:
    """How and where cases are measured."""

    def __init__(self, program, directory, rounds, seconds, check=False):
        self.program, self.directory, self.rounds, self.seconds = program, directory, rounds, seconds
        self.check = check
        # The worker under measurement runs on the last core, all else on the one before it.
        self.cores = sorted(os.sched_getaffinity(0))[:-3:-1]

    def forward(self, case):
        small = ["--small"] if self.check else []
        return [self.program, "--case", case, "--dir", self.directory, *small]

    def measure(self, name):
        reference, floor, aim = CASES[name]
        worker, other = self.cores
        if run([*self.forward(name), "--write-pcap"]).returncode:
            raise Fault(f"{name} wrote no packets")
        pcap = os.path.join(self.directory, f"{name}.pcap")
        packets = 2048 if self.check or name.endswith("_1k") or name == "two_workers" else 200_000
        mine, others, notes = [], [], {}
        for _ in range(self.rounds):
            if reference == IO:
                others.append(testpmd(self, pcap, packets))
                mine.append(ours(self, name, [worker])["ns"])
            elif reference == RATE:
                others.append(200.0)
                mine.append(ours(self, name, [worker])["ns"])
            elif reference == ONE_WORKER:
                others.append(ours(self, name, [worker])["ns"])
                mine.append(ours(self, name, [worker, other])["ns"])
            else:
                result = ours(self, name, [worker], 2 * self.seconds)
                others.append(result["calm_ns"])
                mine.append(result["ns"])
                notes |= {key: result[key] for key in ("updates_per_second", "update_us", "update_new_locator_us")}
        os.unlink(pcap)
        ours_ns, reference_ns = min(mine), min(others)
        return {"case": name, "ratio": round(reference_ns / ours_ns, 3), "floor": floor, "aim": aim,
                "ours_ns": round(ours_ns, 2), "reference_ns": round(reference_ns, 2), "reference": reference,
                **notes}  # fmt: skip


def check():
    """One short case of each kind; the exit status."""
    forward, authority, *criterion = executables(["forward", "authority", *CRITERION], check=True)
    failed, begin = 0, time.monotonic()

    def test(name, body):
        start = time.monotonic()
        try:
            body()
            fault = None
        except Fault as why:
            fault = why
        say(f"test bench::{name} ... {'FAILED' if fault else 'ok'} ({time.monotonic() - start:.1f} s)")
        if fault:
            say(f"    {fault}")
        return 1 if fault else 0

    def run_once(program):
        done = run([program, "--test"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        if done.returncode:
            raise Fault(f"it failed:\n{done.stdout[-2000:]}")

    with workplace(pages=256) as directory:
        bench = Bench(forward, directory, rounds=1, seconds=1, check=True)
        for name in CHECKED:
            failed += test(name, lambda name=name: bench.measure(name))
    for name, program in zip(CRITERION, criterion):
        failed += test(name, lambda program=program: run_once(program))
    for name in bench_authority.CASES:
        failed += test(f"authority_{name}", lambda name=name: authority_case(authority, name, small=True))
    passed, verdict = len(CHECKED) + len(CRITERION) + len(bench_authority.CASES) - failed, "FAILED" if failed else "ok"
    say(
        f"\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; "
        f"finished in {time.monotonic() - begin:.2f}s"
    )
    return 1 if failed else 0


def authority_case(program, name, small=False):
    try:
        return bench_authority.measure(program, name, small)
    except RuntimeError as why:
        raise Fault(f"authority {name} failed:\n{why}") from why


def measure_authority(given):
    """What an authority does, with figures."""
    (program,) = executables(["authority"], given.native)
    results = []
    for name in bench_authority.CASES:
        got, words, holds = authority_case(program, name)
        say(f"{name:14} {'ok   ' if holds else 'BELOW'} {words}")
        results.append(got)
    return results


def measure_moves():
    """What a machine notices of a move, with figures."""
    import bench_moves

    if run(["cargo", "build", "--release", "--locked", "-q", "--bins"], cwd=ROOT).returncode:
        raise Fault("the programs do not build")
    results = []
    for got, words, holds in bench_moves.run():
        say(f"{'ok   ' if holds else 'BELOW'} {words}")
        results.append(got)
    return results


def measure(given):
    """All cases, or those that are asked for, with figures."""
    (forward,) = executables(["forward"], given.native)
    rounds, seconds = (1, 3) if given.quick else (4, 4)
    results = []
    with workplace(pages=900) as directory:
        bench = Bench(forward, directory, rounds, seconds)
        say(f"{'case':18} {'ours':>9} {'reference':>10} {'ratio':>7} {'floor':>6} {'aim':>6}")
        for name in given.case or CASES:
            result = bench.measure(name)
            results.append(result)
            reached = [word for word in ("aim", "floor") if result["ratio"] >= result[word]]
            verdict = {"aim": "aim", "floor": "ok"}[reached[0]] if reached else "BELOW"
            say(
                f"{name:18} {result['ours_ns']:6.2f} ns {result['reference_ns']:7.2f} ns {result['ratio']:7.3f} "
                f"{result['floor']:6.2f} {result['aim']:6.2f}  {verdict}  (against {result['reference']})"
            )
            if "update_us" in result:
                known, new = result["update_us"], result["update_new_locator_us"]
                say(
                    f"  from an accepted update to its effect, p50 / p99: {known[0]} / {known[1]} µs; "
                    f"with a locator never seen before {new[0]} / {new[1]} µs"
                )
    if not given.no_stages and not given.quick and not given.case:
        say()
        for name, program in zip(CRITERION, executables(CRITERION, given.native)):
            if run([program, "--bench"], cwd=ROOT).returncode:
                raise Fault(f"{name} failed")
    return results


def write(given, results):
    if given.json:
        with open(given.json, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")


def interrupted(number, _frame):
    """Ends the bench once: what it made is undone on the way out, and a second signal does not stop that."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    parse = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parse.add_argument("--check", action="store_true", help="one short case of each kind, no figures")
    parse.add_argument("--quick", action="store_true", help="one round of each case, three minutes after the build")
    parse.add_argument("--json", metavar="FILE", help="write the results as a list of objects")
    parse.add_argument("--case", action="append", choices=CASES, help="only this case; may be repeated")
    parse.add_argument("--native", action="store_true", help="build for this machine's processor")
    parse.add_argument("--authority", action="store_true", help="what an authority does, and nothing else")
    parse.add_argument("--moves", action="store_true", help="what a machine notices of a move, and nothing else")
    parse.add_argument("--no-stages", action="store_true", help="without the pipeline and table benches")
    given = parse.parse_args()
    for number in SIGNALS:
        signal.signal(number, interrupted)
    try:
        if len(os.sched_getaffinity(0)) < 2:
            raise Fault("one core is too few; the worker and the measurement need a core each")
        if given.check:
            return check()
        if given.moves:
            write(given, measure_moves())
        else:
            write(given, measure_authority(given) if given.authority else measure(given))
        return 0
    except Fault as why:
        sys.exit(f"bench: {why}")


if __name__ == "__main__":
    sys.exit(main())
