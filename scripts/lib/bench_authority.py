"""What an authority does in a second: the cases of benches/authority.rs with their limits, for scripts/bench.

An `ila-nva` process and its NVEs share the processors of one machine, with certificates and a store on its disk.
"""

import json
import subprocess

# case: (arguments, small arguments, what must hold of a result, what is said of it)
CASES = {
    "registrations": (
        ("--seconds", "5"),
        ("--seconds", "1"),
        lambda got: got["per_second"] >= 20_000,
        lambda got: f"{got['per_second']:.0f} registrations a second are durable and acknowledged, 64 in flight "
        f"({got['commits_per_second']:.0f} transactions; at least 20000 registrations)",
    ),
    "snapshot": (
        ("--mappings", "1000000"),
        ("--mappings", "20000"),
        lambda got: got["s"] <= 3 and got["resident_bytes_each"] <= 250,
        lambda got: f"{got['mappings']} mappings reach a session in {got['s']:.2f} s (at most 3 s); the authority has "
        f"{got['resident_bytes_each']:.0f} bytes for each (at most 250)",
    ),
    "push": (
        ("--mappings", "1000000", "--seconds", "10"),
        ("--mappings", "20000", "--seconds", "1"),
        lambda got: got["ms"]["p99"] <= 10,
        lambda got: f"from an acknowledgement to another session, 1000 a second beside a million: p50 "
        f"{got['ms']['p50']:.2f}, p99 {got['ms']['p99']:.2f} ms (at most 10 ms)",
    ),
    "fan_out": (
        ("--sessions", "1000", "--seconds", "10"),
        ("--sessions", "20", "--seconds", "1"),
        lambda got: got["ms"]["p99"] <= 250 and got["idle_session_bytes"] <= 65_536,
        lambda got: f"{got['sessions']} sessions hear of 100 transactions a second: p50 {got['ms']['p50']:.1f}, p99 "
        f"{got['ms']['p99']:.1f} ms (at most 250 ms); {got['cpu_us_an_update']:.1f} µs of a processor for each update of "
        f"each; an idle session takes {got['idle_session_bytes']} bytes (at most 65536)",
    ),
    "moves": (
        ("--sessions", "1000", "--seconds", "10"),
        ("--sessions", "20", "--seconds", "1"),
        lambda got: got["ms"]["p99"] <= 250 and got["refused"] == 0 and got["per_second"] >= 180,
        lambda got: f"{got['per_second']:.0f} attachments move in a second (200 are begun; at least 180), {got['refused']} were "
        f"refused; {got['sessions']} sessions hear of each commit: p50 {got['ms']['p50']:.1f}, p99 {got['ms']['p99']:.1f} ms "
        f"after the arrival (at most 250 ms); {got['cpu_ms_a_move']:.1f} ms of a processor for each",
    ),
    "reconnect": (
        ("--sessions", "1000"),
        ("--sessions", "20"),
        lambda got: got["s"] <= 10 and got["snapshots"] == 0 and got["peak_share"] <= 1.5,
        lambda got: f"{got['sessions']} sessions are back {got['s']:.1f} s after a restart (at most 10 s), "
        f"{got['snapshots']} by a snapshot (none), with {got['peak_share']:.2f} times the memory (at most 1.5)",
    ),
    "stopped": (
        ("--sessions", "1000", "--seconds", "20"),
        ("--sessions", "20", "--seconds", "2"),
        lambda got: got["growth_bytes"] <= 8 << 20,
        lambda got: f"one of {got['sessions']} sessions reads nothing: the authority grows by {got['growth_bytes']} bytes "
        "(at most 8 MiB, its log of transactions)",
    ),
}


def measure(program, name, small=False):
    """One case: the words about it, and whether it keeps its limits; an error of the program is raised."""
    arguments, few, holds, words = CASES[name]
    done = subprocess.run(
        [program, "--case", name, *(few if small else arguments)], text=True, capture_output=True, check=False,
        timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    got = json.loads(done.stdout.strip().splitlines()[-1])
    return got, words(got), holds(got)
