#!/usr/bin/python3
"""Holds the documents against the source: what they name must be there.

usage: check_docs.py [--write]

It reads README.md, CONTRIBUTING.md, CHANGELOG.md, docs/, benches/README.md and fuzz/README.md, and complains about

* a README of more than 150 lines, a line of more than 120 columns (table rows may be longer);
* a link to a file or heading that is not there, a path in code that is not there;
* a row of docs/conformance.md that is missing, stands twice or has no proof, and a proof that is no test;
* a command, option, configuration key, metric or other name in code that the source does not know;
* a table of drop reasons that is not the list of the source; `--write` writes it anew;
* a message of the protocol between NVEs and authorities of which docs/nva-protocol.md does not speak.

At the end it breaks each of these rules in memory, and fails if it does not notice.
"""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
README_LINES, COLUMNS = 150, 120
CONFORMANCE, REASONS = "docs/conformance.md", "docs/drop-reasons.md"
PROTOCOL, MESSAGES = "docs/nva-protocol.md", "proto/ilagate/nva/v1/nva.proto"
# The mechanisms of the two drafts that conformance is measured by.
NUMBERS = [str(n) for n in range(1, 91)] + [f"N{n}" for n in range(1, 21)]
# Columns of each section's table, and which of them holds the proofs.
SECTIONS = {"Works": (3, 2), "Works in part": (5, 4), "Planned": (2, None)}
TOPS = r"src|tests|scripts|docs|dpdk-config|benches|fuzz|proto|examples|\.ci|\.cargo"
PATH = re.compile(rf"(?<![\w./-])((?:{TOPS})/[\w./@*-]*|(?:[A-Z]+\.md|Cargo\.(?:toml|lock)|[a-z]+\.toml|build\.rs))")
SOURCES = [
    *("src/**/*.rs", "tests/**/*.rs", "benches/**/*.rs", "fuzz/**/*.rs", "examples/*.rs", "build.rs", "**/Cargo.toml"),
    *("scripts/*", "scripts/lib/*.py", "tests/**/*.py", "tests/**/*.sh", "dpdk-config/*", "proto/**/*.proto"),
]
# Names of DPDK's devices and of Linux.
FOREIGN = re.compile(r"net_[a-z_]+|nohz_full|rcu_nocbs")
FILE_ENDINGS = (".yaml", ".md", ".rs", ".py", ".json", ".toml", ".sock", ".proto", ".service", ".pcap", ".lock")


class Tree:
    """The repository, with some files replaced in memory."""

    def __init__(self, changed=None):
        self.changed = changed or {}

    def read(self, path):
        if path in self.changed:
            return self.changed[path]
        with open(os.path.join(ROOT, path), errors="replace") as file:
            return file.read()

    def documents(self):
        names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benches/README.md", "fuzz/README.md"]
        return names + sorted(found("docs/*.md"))


def found(pattern):
    """Files of the repository by pattern, without what is built or fetched."""
    paths = glob.glob(os.path.join(ROOT, pattern), recursive=True)
    names = (os.path.relpath(path, ROOT) for path in paths if os.path.isfile(path))
    return [name for name in names if not re.match(r"(.*/)?(target|corpus|artifacts)/", name)]


def tests():
    """{(file, test)}: the file of `x/tests.rs` is x, that of `x/tests/y.rs` both x and y, that of `test_x.py` x."""
    known = set()
    for path in found("src/**/*.rs") + found("tests/**/*.rs") + found("tests/**/test_*.py"):
        text = Tree().read(path)
        if path.endswith(".py"):
            names = re.findall(r"^def test_([a-z0-9_]+)", text, re.M)
        else:
            attributes = r"#\[(?:tokio::)?test\b[^\]]*\]\s*(?:(?:#\[[^\]]*\]|//[^\n]*)\s*)*"
            names = re.findall(attributes + r"(?:async )?fn ([a-z0-9_]+)", text)
        parts = os.path.splitext(path)[0].split(os.sep)
        files = {parts[-1].removeprefix("test_")}
        if parts[-1] in ("tests", "mod") and len(parts) > 1:
            files = {parts[-2]}
        if parts[0] == "src" and "tests" in parts[:-1]:
            files.add(parts[parts.index("tests") - 1])
        known |= {(file, name) for file in files for name in names}
    return known


def reasons():
    """[(label, sentence, whether its sender is told)] of the one list of drop reasons."""
    for path in found("src/path/**/*.rs"):
        text = Tree().read(path)
        if "\nreasons! {" in text:
            body = text.split("\nreasons! {", 1)[1].split("\n}", 1)[0]
            entry = re.compile(r"((?:\s*///[^\n]*\n)+)\s*\w+ = \"(\w+)\"( =>)?")
            sentence = lambda doc: " ".join(line.strip(" /") for line in doc.strip().splitlines())
            return [(label, sentence(doc), bool(told)) for doc, label, told in entry.findall(body)]
    return []


def reason_table():
    """The table of REASONS as it should be."""
    rows = [f"| `{label}` | {sentence} | {'yes' if told else ''} |" for label, sentence, told in reasons()]
    return "\n".join(["| Reason | What it means | Sender told |", "|---|---|---|", *rows]) + "\n"


def command_line(*paths):
    """({command: {its commands}}, {options}) of files that declare a command line with clap."""
    text = "".join(Tree().read(path) for path in paths)
    enums = dict(re.findall(r"enum (\w+) \{\n(.*?)\n\}", text, re.S))
    kebab = lambda name: re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower()

    def variants(name):
        known = {}
        for before, variant, inner in re.findall(
            r"((?:^    (?:#\[|///)[^\n]*\n)*)^    ([A-Z]\w*)(?:\((\w+)\))?", enums.get(name, ""), re.M
        ):
            below = {kebab(word) for word in variants(inner)} if inner in enums else set()
            for word in (kebab(variant), *re.findall(r'alias = "([\w-]+)"', before)):
                known[word] = below
        return known

    options = {"help", "version"}
    for arguments, field in re.findall(r"#\[arg\((.*?)\)\]\s*(?:pub )?(?:r#)?(\w+):", text, re.S):
        if re.search(r"\blong\b", arguments):
            named = re.search(r'\blong = "([\w-]+)"', arguments)
            options.add(named.group(1) if named else field.replace("_", "-"))
    return variants("Command"), options


def configuration():
    """Paths of the configuration's keys as in the reference, without `[]`: `ports.device`."""
    paths, open_keys = set(), []
    # A key in a comment is in place of others.
    text = re.sub(r"^#   (?=\s*[a-z_]+:)", "  ", Tree().read("dpdk-config/reference.yaml"), flags=re.M)
    for line in text.splitlines():
        content = line.split(" #")[0].rstrip()
        if not content or content.startswith("#"):
            continue
        indent = len(content) - len(content.lstrip())
        rest = content.lstrip()
        if rest.startswith("- "):
            indent, rest = indent + 2, rest[2:]
        match = re.match(r"([a-z0-9_]+):", rest)
        if match:
            open_keys = [(depth, key) for depth, key in open_keys if depth < indent] + [(indent, match.group(1))]
            paths.add(".".join(key for _, key in open_keys))
    return paths


class Source:
    """All that documents may name."""

    def __init__(self):
        files = {path for pattern in SOURCES for path in found(pattern)} - {"scripts/lib/check_docs.py"}
        text = "\n".join(Tree().read(path) for path in sorted(files))
        self.words = set(re.findall(r"[A-Za-z0-9_]+", text))
        self.words |= {os.path.basename(path).split(".")[0] for path in files}
        self.metrics = set(re.findall(r'= "(ilagate_[a-z_]+)";', text))
        self.tests = tests()
        self.commands = {
            "ilactl": command_line("src/ctl/args.rs", "src/ctl/args/authority.rs", "src/ctl/args/groups.rs", "src/ctl/args/vm.rs"), "ilagate": command_line("src/bin/ilagate.rs"),
        }  # fmt: skip
        self.config = configuration()
        self.keys = {key for path in self.config for key in path.split(".")}
        # What stands there as a comment is the other store.
        self.keys |= set(re.findall(r"^[#\s-]*([a-z_]+):(?=\s|$)", Tree().read("dpdk-config/ila-nva.yaml"), re.M))
        maps = "".join(Tree().read(path) for path in found("dpdk-config/mappings*.yaml"))
        self.keys |= set(re.findall(r"([a-z]+):(?=\s)", maps))
        self.parents = {path.rsplit(".", 1)[0].split(".")[-1] for path in self.config if "." in path}


def codes(text):
    """(fenced blocks with their language, code within lines)."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
    return fence.findall(text), re.findall(r"`([^`\n]+)`", fence.sub("", text))


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def form(tree, name):
    lines = tree.read(name).splitlines()
    if name == "README.md" and len(lines) > README_LINES:
        yield f"{len(lines)} lines; {README_LINES} at most, the rest belongs into docs/"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS and not line.startswith("|"):
            yield f"line {number} has {len(line)} columns; {COLUMNS} at most"


def links(tree, name):
    for target in re.findall(r"\]\(([^)\s]+)\)", tree.read(name)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
        if not os.path.exists(os.path.join(ROOT, path)):
            yield f"link to {target}, which is not there"
        elif heading and heading not in map(slug, re.findall(r"^#+ (.*)$", tree.read(path), re.M)):
            yield f"link to {target}: {path} has no such heading"


def paths(tree, name):
    blocks, inline = codes(tree.read(name))
    for code in [body for _, body in blocks] + inline:
        for path in PATH.findall(code):
            path = path.rstrip(".")
            here = [os.path.join(ROOT, path), os.path.join(ROOT, os.path.dirname(name), path)]
            if not re.search(r"/[A-Z]{3,}\b", path) and not any(glob.glob(where) for where in here):
                yield f"path {path}, which is not there"


def commands(tree, name, source):
    blocks, inline = codes(tree.read(name))
    lines = [line.split(" #")[0] for language, body in blocks if language in ("", "sh") for line in body.splitlines()]
    for line in lines + inline:
        call = re.search(r"(?:^|/|\bexec \w+ )(ilactl|ilagate) +((?:[a-z-].*)?)$", line)
        if not call:
            continue
        program, rest = call.groups()
        known, options = source.commands[program]
        words = re.split(r" [|;&>]", rest)[0].split()
        for option in [word for word in words if word.startswith("--")]:
            if option[2:].split("=")[0] not in options:
                yield f"`{line.strip()}`: {program} has no option {option}"
        while words and words[0].startswith("--"):
            words = words[1:] if words[0] == "--json" else words[2:]
        if not words or not re.fullmatch(r"[a-z|-]+", words[0]):
            continue
        for word in words[0].split("|"):
            if word not in known:
                yield f"`{line.strip()}`: {program} has no command {word}"
            elif known[word] and len(words) > 1 and re.fullmatch(r"[a-z|-]+", words[1]):
                for below in set(words[1].split("|")) - known[word]:
                    yield f"`{line.strip()}`: {program} {word} has no command {below}"


def names(tree, name, source):
    blocks, inline = codes(tree.read(name))
    for language, body in blocks:
        if language == "yaml":
            text = re.sub(r"#.*", "", body)
            for key in re.findall(r"(?:^\s*(?:- )?|[{,]\s*)([a-z0-9_]+):(?=\s|$)", text, re.M):
                if key not in source.keys:
                    yield f"key {key} in YAML, which the reference does not have"
    for code in inline:
        for metric in re.findall(r"\bilagate_[a-z_]+", code):
            if metric not in source.metrics:
                yield f"metric {metric}, which is not exported"
        plain = code.replace("[]", "").split(":")[0]
        dotted = re.fullmatch(r"([a-z0-9_]+)(\.[a-z0-9_]+)+", plain)
        if dotted and dotted.group(1) in source.parents and not plain.endswith(FILE_ENDINGS):
            if not any(f".{path}".endswith(f".{plain}") for path in source.config):
                yield f"key {plain}, which the reference does not have"
        for word in re.findall(r"(?<![\w/.$:-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w/-]|::)", code):
            if word not in source.words and not FOREIGN.fullmatch(word):
                yield f"name {word}, which the source does not have"


def conformance(tree, source):
    text = tree.read(CONFORMANCE)
    seen = []
    for title, body in re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", text, re.M | re.S):
        rows = [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in body.splitlines()
                if line.startswith("| ") and not line.startswith("| #")]  # fmt: skip
        if title not in SECTIONS:
            yield from (f"row {row[0]} under {title}" for row in rows)
            continue
        columns, proofs = SECTIONS[title]
        for row in rows:
            seen.append(row[0])
            if len(row) != columns:
                yield f"row {row[0]} has {len(row)} columns, not {columns}"
            elif proofs is not None:
                named = re.findall(r"`([a-z0-9_]+)::([a-z0-9_]+)`", row[proofs])
                if not named:
                    yield f"row {row[0]} names no test"
                for file, test in named:
                    if (file, test) not in source.tests:
                        yield f"row {row[0]}: {file}::{test} is no test"
    for number in NUMBERS:
        if seen.count(number) != 1:
            yield f"row {number} stands {seen.count(number)} times, not once"
    for row in sorted(set(seen) - set(NUMBERS)):
        yield f"row {row} is none of the mechanisms"


def drops(tree):
    if reason_table() not in tree.read(REASONS):
        yield "its table is not the list of the source; scripts/lib/check_docs.py --write writes it anew"


def protocol(tree):
    said = set(re.findall(r"\b[A-Z][A-Za-z]+\b", tree.read(PROTOCOL)))
    for body in re.findall(r"oneof message \{(.*?)\}", tree.read(MESSAGES), re.S):
        for message in re.findall(r"([A-Z][A-Za-z]+) \w+ = \d+;", body):
            if message not in said:
                yield f"it does not say what {message} is"


def complaints(tree, source):
    """All that is wrong, as `file: what`."""
    for name in tree.documents():
        for rule in (form, links, paths):
            yield from (f"{name}: {what}" for what in rule(tree, name))
        for rule in (commands, names):
            yield from (f"{name}: {what}" for what in rule(tree, name, source))
    yield from (f"{CONFORMANCE}: {what}" for what in conformance(tree, source))
    yield from (f"{REASONS}: {what}" for what in drops(tree))
    yield from (f"{PROTOCOL}: {what}" for what in protocol(tree))


def broken():
    """(file, its text broken, words of the complaint that must follow)."""
    more = [
        ("README.md", "\n" * README_LINES, "lines; 150 at most"),
        ("README.md", "x" * (COLUMNS + 1), "columns; 120 at most"),
        ("README.md", "[x](docs/nowhere.md)", "link to docs/nowhere.md"),
        ("README.md", "[x](docs/operating.md#nowhere)", "has no such heading"),
        ("README.md", "`src/nowhere.rs`", "path src/nowhere.rs"),
        ("README.md", "```\nilactl node dance\n```", "has no command dance"),
        ("README.md", "`ilagate dance`", "has no command dance"),
        ("README.md", "`ilactl stats --dance`", "has no option --dance"),
        ("README.md", "```yaml\nports:\n  - {nome: x}\n```", "key nome in YAML"),
        ("README.md", "`ports[].nome`", "key ports.nome"),
        ("README.md", "`ilagate_dances_total`", "metric ilagate_dances_total"),
        ("README.md", "`no_such_reason`", "name no_such_reason"),
    ]
    for name, text, what in more:
        yield name, Tree().read(name) + "\n" + text + "\n", what
    text = Tree().read(CONFORMANCE)
    row = next(line for line in text.splitlines(True) if line.startswith("| 1 |"))
    proof = re.search(r"`[a-z0-9_]+::[a-z0-9_]+`", row).group()
    yield CONFORMANCE, text.replace(row, ""), "row 1 stands 0 times"
    yield CONFORMANCE, text.replace(row, row + row), "row 1 stands 2 times"
    yield CONFORMANCE, text.replace(row, row.replace("| 1 |", "| 99 |")), "row 99 is none"
    yield CONFORMANCE, text.replace(row, row.replace(proof, "`laws::no_such_law`")), "laws::no_such_law is no test"
    yield CONFORMANCE, text.replace(row, re.sub(r"`[a-z0-9_]+::[a-z0-9_]+`,? ?", "", row)), "row 1 "
    label, sentence, _ = reasons()[0]
    yield REASONS, Tree().read(REASONS).replace(sentence, "Something else."), "is not the list of the source"
    yield PROTOCOL, Tree().read(PROTOCOL).replace("Complete", "Whole"), "it does not say what Complete is"


def main():
    if sys.argv[1:] == ["--write"]:
        text = Tree().read(REASONS)
        table = re.search(r"^\| Reason \| What it means \|.*?(?=^[^|]|\Z)", text, re.M | re.S)
        with open(os.path.join(ROOT, REASONS), "w") as file:
            file.write(text[: table.start()] + reason_table() + text[table.end() :])
    source = Source()
    wrong = list(complaints(Tree(), source))
    if not wrong:
        for name, text, what in broken():
            if not any(what in complaint for complaint in complaints(Tree({name: text}), source)):
                wrong.append(f"scripts/lib/check_docs.py does not notice: {what}")
    if wrong:
        print("documents and source differ:", *wrong, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
