"""Every test that the README's conformance tables name exists: `file::name` of tests/ or of the library."""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def defined():
    """{(file, function)}: of a module `x/tests.rs` or `x/tests/y.rs` both x and y count as its file."""
    found = set()
    for pattern, function in (("**/*.rs", r"fn ([a-z0-9_]+)"), ("**/test_*.py", r"def test_([a-z0-9_]+)")):
        for top in ("src", "tests"):
            for path in glob.glob(os.path.join(ROOT, top, pattern), recursive=True):
                names = os.path.splitext(os.path.relpath(path, ROOT))[0].split(os.sep)
                files = {names[-1].removeprefix("test_"), *names[-3:-1]}
                with open(path) as file:
                    found |= {(name, test) for test in re.findall(function, file.read()) for name in files}
    return found


def main():
    with open(os.path.join(ROOT, "README.md")) as file:
        rows = [line for line in file if line.startswith("| ")]
    known = defined()
    named = {match for row in rows for match in re.findall(r"`([a-z0-9_]+)::([a-z0-9_]+)`", row)}
    missing = sorted(f"{file}::{test}" for file, test in named - known)
    if missing or not named:
        print("README.md names tests that are not there:", *missing, sep="\n  ")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
