"""Every program that tests, demo and bench call is one that `scripts/setup test` installs, or is on every Debian."""

import ast
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# In packages that every Debian has (`Essential: yes`).
ALWAYS = {"cat", "dpkg-query", "env", "sh", "sha256sum", "timeout"}
# Installed by scripts/setup in other ways; the last two are looked for by scripts that do without them, or install them.
OTHERWISE = {"cargo", "cargo-deny", "cargo-mutants", "rustup"}
# Functions of lab.py and of Python whose first argument is a command or its first word.
CALLS = {"run", "spawn", "status", "host", "command", "need", "which", "Popen", "check_output"}


def first_word(node):
    """The program that a command begins with, if it stands there as text."""
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        node = node.elts[0]
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split():
        return node.value.split()[0]
    return None


def of_python(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            word = first_word(node.args[0]) if function in CALLS else None
            if word:
                yield word
        # A command in a variable: `words = ["ping", …]`.
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List) and len(node.value.elts) > 1:
            if any(getattr(target, "id", None) in ("words", "command") for target in node.targets):
                word = first_word(node.value)
                if word:
                    yield word


def of_shell(text):
    return re.findall(r"\bin_ns \S+ ([a-z][\w.-]*)|\bcommand -v ([a-z][\w.-]*)", text)


def of_rust(text):
    return re.findall(r'Command::new\(\s*"([^"]+)"', text)


def called():
    """{program: a file that calls it}"""
    found = {}

    def add(words, file):
        for word in words:
            for each in word if isinstance(word, tuple) else (word,):
                if each:
                    found.setdefault(os.path.basename(each), os.path.relpath(file, ROOT))

    for pattern, finder in (
        ("scripts/lib/*.py", of_python),
        ("tests/*/*.py", of_python),
        ("tests/*/*.sh", of_shell),
        ("scripts/*", of_shell),
        ("tests/**/*.rs", of_rust),
        ("src/**/*.rs", of_rust),
    ):
        for file in glob.glob(os.path.join(ROOT, pattern), recursive=True):
            if os.path.isfile(file):
                with open(file, encoding="utf-8") as opened:
                    add(finder(opened.read()), file)
    return found


def main():
    setup = [os.path.join(ROOT, "scripts", "setup"), "--programs", "test"]
    listed = set(subprocess.run(setup, stdout=subprocess.PIPE, text=True, check=True).stdout.split())
    found = called()
    missing = {program: file for program, file in found.items() if program not in listed | ALWAYS | OTHERWISE}
    for program, file in sorted(missing.items()):
        print(f"{file} calls {program}, which scripts/setup does not name")
    if len(found) < 10:
        print(f"only {sorted(found)} are called, which cannot be: this check reads the wrong files")
        return 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
