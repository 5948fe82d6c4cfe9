#!/usr/bin/python3
"""Runs the system and interop tests: functions `test_*` of the `test_*.py` files beside this one and in ../interop.

    tests/system/run.py [--list] [--jobs N] [--tier system|interop] [part of a test's name …]

Each test runs in a process of its own, makes its own namespaces and leaves nothing behind. Three run at a time, unless
--jobs says otherwise; those of a file that says `ALONE = True`, because they load the machine or measure it, run one by one
after all others. Needs root, and binaries (see ILAGATE_BIN_DIR in lab.py).
"""

import atexit
import ctypes
import importlib.util
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "scripts", "lib"), HERE]

from wait import Failed, Skipped  # noqa: E402

# Against what hangs; no test is as slow on any machine.
LIMIT_S = 900
JOBS = 3
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def collect(tiers):
    """(tier, name, function, whether it runs alone), in the order of files and lines."""
    for tier in tiers:
        directory = os.path.join(ROOT, "tests", tier)
        for file in sorted(os.listdir(directory)):
            if not (file.startswith("test_") and file.endswith(".py")):
                continue
            spec = importlib.util.spec_from_file_location(file[:-3], os.path.join(directory, file))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            for name, function in vars(module).items():
                if name.startswith("test_") and callable(function):
                    yield tier, f"{file[5:-3]}::{name[5:]}", function, getattr(module, "ALONE", False)


def late(_number, _frame):
    raise Failed(f"not done after {LIMIT_S} s")


def run(function):
    """`ok`, `ignored` or `FAILED`, and why."""
    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    try:
        function()
        return "ok", None
    except Skipped as why:
        return "ignored", str(why)
    except Failed as why:
        where = [frame for frame in traceback.extract_tb(why.__traceback__) if "/tests/" in frame.filename]
        place = f"{os.path.basename(where[-1].filename)}:{where[-1].lineno}: " if where else ""
        return "FAILED", f"{place}{why}"
    except Exception:
        return "FAILED", traceback.format_exc()
    finally:
        signal.alarm(0)


class Running:
    """A test in a process of its own."""

    def __init__(self, tier, name, function):
        self.name, self.start = f"{tier}::{name}", time.monotonic()
        self.output, self.verdict = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        sys.stdout.flush()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            # It cleans up and ends with the program that started it.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            status = 1
            try:
                if os.getppid() == parent:
                    os.dup2(self.output.fileno(), 1)
                    os.dup2(self.output.fileno(), 2)
                    self.verdict.write(pickle.dumps(run(function)))
                    self.verdict.flush()
                    status = 0
            finally:
                sys.stdout.flush()
                # What tests keep for one another goes as at any end.
                atexit._run_exitfuncs()
                os._exit(status)

    def report(self, status):
        """Prints how it ended; the result."""
        for file in (self.output, self.verdict):
            file.seek(0)
        if status == 0:
            result, why = pickle.loads(self.verdict.read())
        else:
            result, why = "FAILED", f"its process ended with status {status}"
        sys.stdout.write(self.output.read().decode(errors="replace"))
        reason = f", {why}" if result == "ignored" else ""
        print(f"test {self.name} ... {result}{reason} ({time.monotonic() - self.start:.1f} s)", flush=True)
        if result == "FAILED":
            print(f"    {why}", flush=True)
        return result


def run_all(tests, jobs):
    """Runs the tests, so many at a time; how many ended in which way."""
    results = {"ok": 0, "FAILED": 0, "ignored": 0}
    waiting, running = list(reversed(tests)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            test = Running(*waiting.pop())
            running[test.pid] = test
        pid, status = os.wait()
        results[running.pop(pid).report(os.waitstatus_to_exitcode(status))] += 1
    return results


def main(words):
    tiers, wanted, only_list, jobs = ["system", "interop"], [], False, JOBS
    words = iter(words)
    for word in words:
        if word == "--tier":
            tiers = [next(words)]
        elif word == "--jobs":
            jobs = max(1, int(next(words)))
        elif word == "--list":
            only_list = True
        else:
            wanted.append(word)
    tests = [test for test in collect(tiers) if not wanted or any(word in test[1] for word in wanted)]
    if only_list:
        print("\n".join(f"{tier} {name}" for tier, name, _, _ in tests))
        return 0
    if os.geteuid() != 0:
        print("system tests need root", file=sys.stderr)
        return 1
    print(f"running {len(tests)} tests", flush=True)
    began = time.monotonic()
    together = run_all([test[:3] for test in tests if not test[3]], jobs)
    alone = run_all([test[:3] for test in tests if test[3]], 1)
    results = {result: together[result] + alone[result] for result in together}
    failed = results["FAILED"]
    print(
        f"\ntest result: {'FAILED' if failed or not tests else 'ok'}. {results['ok']} passed; {failed} failed; "
        f"{results['ignored']} ignored; finished in {time.monotonic() - began:.2f}s"
    )
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
