//! Where the programs write: a full or closed output is an error with exit code 1, and never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ILAGATE: &str = env!("CARGO_BIN_EXE_ilagate");
const ILACTL: &str = env!("CARGO_BIN_EXE_ilactl");

const CONFIG: &str =
    "node: {name: n}\ndpdk: {workers: [1]}\nports: [{name: f, device: net_null0, role: fabric}]\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("node.yaml"), CONFIG).unwrap();
    let pcap = ilagate::node::replay::capture::write(&[(0, vec![0; 60])]);
    std::fs::write(folder.path().join("in.pcap"), pcap).unwrap();
    folder
}

/// Command lines that succeed and write something.
const WELL: &[(&str, &[&str])] = &[
    (ILAGATE, &["check", "node.yaml"]),
    (ILAGATE, &["replay", "--config", "node.yaml", "--in", "f=in.pcap", "--out-dir", "out"]),
    (ILAGATE, &["replay", "--config", "node.yaml", "--in", "f=in.pcap", "--out-dir", "out", "--json"]),
    (ILACTL, &["id", "new", "--sir", "2001:db8::/64", "--eui64", "02:00:00:00:00:0a"]),
    (ILACTL, &["id", "new", "--sir", "2001:db8::/64", "--eui64", "02:00:00:00:00:0a", "--json"]),
    (ILACTL, &["completions", "bash"]),
];

/// Command lines that fail with a message.
const WRONG: &[(&str, &[&str], i32)] = &[
    (ILAGATE, &["check", "nosuch.yaml"], 1),
    (ILAGATE, &["replay", "--config", "node.yaml", "--in", "x=in.pcap", "--out-dir", "out"], 1),
    (ILAGATE, &["nonsense"], 2),
    (ILACTL, &["--socket", "/nosuch", "node", "show"], 1),
    (ILACTL, &["nonsense"], 2),
];

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn run(folder: &Path, program: &str, arguments: &[&str], set: impl Fn(&mut Command)) -> Output {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    set(&mut command);
    command.output().unwrap()
}

#[test]
fn a_result_that_does_not_fit_is_an_error_and_no_panic() {
    let folder = folder();
    for (program, arguments) in WELL {
        let done = run(folder.path(), program, arguments, |_| ());
        assert!(done.status.success() && !done.stdout.is_empty(), "{arguments:?}: {done:?}");
        let done = run(folder.path(), program, arguments, |command| _ = command.stdout(full()));
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot write the result") && said.contains("No space left"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        // Neither result nor complaint can be written: the exit code says it.
        let done = run(folder.path(), program, arguments, |command| {
            command.stdout(full()).stderr(full());
        });
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_complaint_that_does_not_fit_is_an_exit_code_and_no_panic() {
    let folder = folder();
    for (program, arguments, code) in WRONG {
        let done = run(folder.path(), program, arguments, |_| ());
        assert_eq!(done.status.code(), Some(*code), "{arguments:?}: {done:?}");
        let done = run(folder.path(), program, arguments, |command| _ = command.stderr(full()));
        assert_eq!(done.status.code(), Some(*code), "{arguments:?}");
    }
}

#[test]
fn closed_outputs_are_no_panic() {
    let folder = folder();
    let well = WELL.iter().map(|(program, arguments)| (program, arguments, 0));
    let wrong = WRONG.iter().map(|(program, arguments, code)| (program, arguments, *code));
    for (program, arguments, code) in well.chain(wrong) {
        for closed in [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
            let script = format!("exec \"$0\" \"$@\" {closed}");
            let mut all = vec!["-c", &script, program];
            all.extend(*arguments);
            let done = run(folder.path(), "sh", &all, |_| ());
            assert_eq!(done.status.code(), Some(code), "{closed} {arguments:?}: {done:?}");
        }
    }
}

#[test]
fn help_and_versions_never_panic() {
    let folder = folder();
    for program in [ILAGATE, ILACTL] {
        for arguments in [&["--help"][..], &["--version"], &["help"]] {
            let done = run(folder.path(), program, arguments, |command| _ = command.stdout(full()));
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(matches!(done.status.code(), Some(0..=2)) && !said.contains("panicked"), "{said}");
        }
    }
}
