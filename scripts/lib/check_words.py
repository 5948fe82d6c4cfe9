"""Keeps retired names out of the Rust code: every identifier is held against the list in words.txt.

    check_words.py              checks src, tests, benches, fuzz and examples; says file, line and the new word
    check_words.py --self-test  checks the checker: planted words are found, prose and strings are not
"""

import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FOLDERS = ("src", "tests", "benches", "fuzz", "examples", "build.rs")
KINDS = ("word", "name", "path", "mod")
# A function with a name of so many words is a test, and its name a sentence.
SENTENCE_WORDS = 5

# In this order: what is prose, then what may look like its beginning, then identifiers.
TOKEN = re.compile(
    r"""
      (?P<line>//[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>\b(?:br|cr|r)(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
    | (?P<string>(?:\b[bc])?"(?:\\(?:.|\n)|[^"\\])*")
    | (?P<char>(?:\bb)?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.)|[^'\\\n])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<number>\b\d[\w]*)
    | (?P<name>(?:r\#)?[A-Za-z_]\w*)
    | (?P<colons>::)
    | (?P<other>\S)
    """,
    re.VERBOSE,
)


def tokens(text):
    """(line, token) of identifiers and of `::`; any other code is the token `.`."""
    at, line, length = 0, 1, len(text)
    while at < length:
        match = TOKEN.match(text, at)
        if not match:
            line += text[at] == "\n"
            at += 1
            continue
        end = match.end()
        if match["block"]:
            end = block_end(text, at)
        elif match["name"]:
            yield line, match["name"].removeprefix("r#")
        elif match["colons"]:
            yield line, "::"
        elif match["lifetime"] or match["other"]:
            yield line, "."
        line += text.count("\n", at, end)
        at = end


def block_end(text, at):
    """Where the block comment that begins at `at` ends; such comments nest."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def parts(name):
    """The words of an identifier: `TxLanes`, `tx_lanes` and `TX_LANES` are `tx` and `lane`."""
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", name)
    return {form for word in found for form in (word.lower(), word.lower().removesuffix("s"))}


def is_sentence(name):
    return len([word for word in name.split("_") if word]) >= SENTENCE_WORDS


class Words:
    """The list: {old: new} for each kind."""

    def __init__(self, text, origin="words.txt"):
        self.retired = {kind: {} for kind in KINDS}
        for number, line in enumerate(text.splitlines(), 1):
            columns = line.split("#")[0].split(None, 2)
            if not columns:
                continue
            if len(columns) != 3 or columns[0] not in KINDS:
                raise SystemExit(f"{origin}:{number}: not `KIND OLD NEW` with a kind of {', '.join(KINDS)}")
            kind, old, new = columns
            if old in self.retired[kind]:
                raise SystemExit(f"{origin}:{number}: `{kind} {old}` stands there twice")
            self.retired[kind][old] = new.strip()
        if not any(self.retired.values()):
            raise SystemExit(f"{origin} lists nothing")

    def of_text(self, text, modules):
        """(line, what stands there, new word) of a source text; `modules`: whether `mod` lines count."""
        before = ["", ""]
        for line, token in tokens(text):
            if token not in (".", "::"):
                yield from self.of_name(line, token, before, modules)
            before = [before[1], token]

    def of_name(self, line, name, before, modules):
        if name in self.retired["name"]:
            yield line, name, self.retired["name"][name]
        if before[1] == "::" and (path := f"{before[0]}::{name}") in self.retired["path"]:
            yield line, path, self.retired["path"][path]
        if modules and before[1] == "mod" and name in self.retired["mod"]:
            yield line, f"mod {name}", self.retired["mod"][name]
        if not is_sentence(name):
            for word in sorted(parts(name) & self.retired["word"].keys()):
                yield line, name, self.retired["word"][word]

    def of_tree(self, root):
        """(file, line, what stands there, new word) of all Rust files of a source tree."""
        for file in sources(root):
            in_src = file.startswith("src" + os.sep)
            for word in os.path.splitext(file)[0].split(os.sep)[1:] if in_src else ():
                if word in self.retired["mod"]:
                    yield file, 1, f"the module {word}", self.retired["mod"][word]
            with open(os.path.join(root, file), encoding="utf-8") as opened:
                for line, what, new in self.of_text(opened.read(), in_src):
                    yield file, line, what, new


def sources(root):
    """Every Rust file of the project, as paths below `root`."""
    for folder in FOLDERS:
        top = os.path.join(root, folder)
        if os.path.isfile(top):
            yield folder
        for directory, below, files in os.walk(top):
            below[:] = sorted(name for name in below if name not in ("target", "corpus", "artifacts"))
            for file in sorted(files):
                if file.endswith(".rs"):
                    yield os.path.relpath(os.path.join(directory, file), root)


PLANTED = '''
//! A lane, a twin; `Guard` in prose.
/* a Lane /* and a nested Twin */ still a Lane */
struct TxLanes<'lane> { a: &'lane str }           // found: TxLanes
const LANE_SIZE: usize = 1;                       // found: LANE_SIZE
let twins = "a twin, a \\" Guard, a lane" ;        // found: twins
let text = r#"Guard "twin" lane"#; let c = 'l'; let quote = '"'; let after = twin_of(b'"');  // found: twin_of
use x::Guard;                                     // found: Guard
let guard = MutexGuard::default(); let plane = explained(); let planet = lanet;
Verdict::Hold(1); Other::Hold;                    // found: Verdict::Hold
Verdict :: Hold; Verdict::AwaitNextHop;           // found: Verdict::Hold
fn twins_meet_on_the_wire() {}
fn two_twins() {}                                 // found: two_twins
mod guard;                                        // found: mod guard
let r#lane = 0x1u8; 'lane: loop { break 'lane }   // found: lane
'''
PLANTED_WORDS = """
word  lane   PacketMeta
word  twin   zero_alias    # and more
name  Guard  Policer
path  Verdict::Hold  AwaitNextHop
mod   guard  policer
"""


def self_test():
    """What is planted is found, at its line, and nothing else."""
    words = Words(PLANTED_WORDS)
    wanted = [
        (number, name)
        for number, line in enumerate(PLANTED.splitlines(), 1)
        for name in re.findall(r"// found: (.+)", line)
    ]
    found = [(line, what) for line, what, _ in words.of_text(PLANTED, True)]
    faults = []
    if found != wanted:
        faults.append(f"in a text: found {found} instead of {wanted}")
    if any(what.startswith("mod ") for _, what, _ in words.of_text(PLANTED, False)):
        faults.append("a module of tests/ counts")
    with tempfile.TemporaryDirectory() as root:
        for file, text in (("src/guard/x.rs", ""), ("tests/guard.rs", "struct Lane;"), ("src/a.rs", "fn planes() {}")):
            os.makedirs(os.path.dirname(os.path.join(root, file)), exist_ok=True)
            with open(os.path.join(root, file), "w", encoding="utf-8") as opened:
                opened.write(text)
        tree = [(file, what, new) for file, _, what, new in words.of_tree(root)]
        if tree != [("src/guard/x.rs", "the module guard", "policer"), ("tests/guard.rs", "Lane", "PacketMeta")]:
            faults.append(f"in a tree: {tree}")
    for bad in ("word lane", "noun lane x", "word lane a\nword lane b", "# nothing"):
        try:
            Words(bad)
            faults.append(f"a list is taken: {bad!r}")
        except SystemExit:
            pass
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    with open(os.path.join(HERE, "words.txt"), encoding="utf-8") as file:
        words = Words(file.read())
    if not any(sources(ROOT)):
        print("no Rust files found")
        return 1
    status = 0
    for file, line, what, new in words.of_tree(ROOT):
        print(f"{file}:{line}: `{what}` is retired, now: {new} (scripts/lib/words.txt)")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
