#!/usr/bin/python3
"""Runs the system and interop tests: functions `test_*` of the `test_*.py` files beside this one and in ../interop.

    tests/system/run.py [--list] [--tier system|interop] [part of a test's name …]

Each test makes its own namespaces and leaves nothing behind. Needs root, and binaries (see ILAGATE_BIN_DIR in lab.py).
"""

import importlib.util
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "scripts", "lib"), HERE]

from wait import Failed, Skipped  # noqa: E402

# Against what hangs; no test is as slow on any machine.
LIMIT_S = 900


def collect(tiers):
    """(tier, name, function), in the order of files and lines."""
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
                    yield tier, f"{file[5:-3]}::{name[5:]}", function


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


def main(words):
    tiers, wanted, only_list = ["system", "interop"], [], False
    words = iter(words)
    for word in words:
        if word == "--tier":
            tiers = [next(words)]
        elif word == "--list":
            only_list = True
        else:
            wanted.append(word)
    tests = [test for test in collect(tiers) if not wanted or any(word in test[1] for word in wanted)]
    if only_list:
        print("\n".join(f"{tier} {name}" for tier, name, _ in tests))
        return 0
    if os.geteuid() != 0:
        print("system tests need root", file=sys.stderr)
        return 1
    print(f"running {len(tests)} tests", flush=True)
    began, results = time.monotonic(), {"ok": 0, "FAILED": 0, "ignored": 0}
    for tier, name, function in tests:
        start = time.monotonic()
        result, why = run(function)
        results[result] += 1
        reason = f", {why}" if result == "ignored" else ""
        print(f"test {tier}::{name} ... {result}{reason} ({time.monotonic() - start:.1f} s)", flush=True)
        if result == "FAILED":
            print(f"    {why}", flush=True)
    failed = results["FAILED"]
    print(
        f"\ntest result: {'FAILED' if failed or not tests else 'ok'}. {results['ok']} passed; {failed} failed; "
        f"{results['ignored']} ignored; finished in {time.monotonic() - began:.2f}s"
    )
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
