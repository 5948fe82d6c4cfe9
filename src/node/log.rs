//! The log: lines go to standard error by a thread of its own, so that nobody who writes one ever waits.
//!
//! What standard error does not take in time waits in memory, within [`MAX_LINES`] and [`MAX_BYTES`]. What does not
//! fit is lost and counted, and the log says so as soon as it can.

use crate::config::{Log as Settings, LogFormat, LogLevel};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

/// The most lines that wait to be written.
const MAX_LINES: usize = 16_384;
/// The most bytes of lines that wait to be written.
const MAX_BYTES: usize = 4 << 20;
/// How long the end of the node, or its abort, waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Time between two looks at what does not report: a full device, or whether the last line is written.
const LOOK: Duration = Duration::from_millis(5);

/// What the writers of lines and the thread share.
#[derive(Debug, Default)]
struct Shared {
    /// Lines lost, for metrics as well.
    lost: Arc<AtomicU64>,
    /// Lines that wait or are being written.
    lines: AtomicUsize,
    /// Their bytes.
    bytes: AtomicUsize,
}

impl Shared {
    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.lines.fetch_sub(1, Ordering::Release);
    }
}

/// The way in: each `write` is one line. It never blocks and never fails.
#[derive(Debug, Clone)]
struct Lines {
    shared: Arc<Shared>,
    queue: SyncSender<Vec<u8>>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.shared.bytes.fetch_add(line.len(), Ordering::Relaxed);
        self.shared.lines.fetch_add(1, Ordering::Relaxed);
        if waiting + line.len() > MAX_BYTES || self.queue.try_send(line.to_vec()).is_err() {
            self.shared.done(line.len());
            self.shared.lose();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread that writes to `out`, on these cores; on any if there are none. `lost` is told how many lines were lost since it was told last, when a line
/// could be written again.
fn start(
    out: impl Write + Send + 'static,
    cores: &[u32],
    lost: impl Fn(u64) + Send + 'static,
) -> io::Result<(Lines, Arc<Shared>)> {
    let mut set = CpuSet::new();
    for core in cores {
        // One that no set can hold is none of this machine.
        let _ = set.set(*core as usize);
    }
    let bound = !cores.is_empty();
    let (queue, lines) = sync_channel(MAX_LINES);
    let shared = Arc::new(Shared::default());
    let seen = shared.clone();
    let work = move || {
        if bound {
            // Who names a core that there is not is told by DPDK.
            let _ = sched_setaffinity(Pid::from_raw(0), &set);
        }
        write(out, &lines, &seen, lost);
    };
    std::thread::Builder::new().name("ilagate-log".into()).spawn(work)?;
    Ok((Lines { shared: shared.clone(), queue }, shared))
}

fn write(mut out: impl Write, lines: &Receiver<Vec<u8>>, shared: &Shared, tell: impl Fn(u64)) {
    let mut told = 0;
    for line in lines {
        match write_line(&mut out, &line) {
            Ok(()) => {
                let lost = shared.lost.load(Ordering::Relaxed);
                if lost > told {
                    tell(lost - told);
                    told = lost;
                }
            }
            Err(_) => shared.lose(),
        }
        shared.done(line.len());
    }
}

/// Writes one line as a whole, also to a file that does not block.
fn write_line(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or(&[]),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    out.flush()
}

/// The log of this process. When it is dropped it waits up to 1 s for the last lines to be written.
pub struct Log {
    shared: Arc<Shared>,
    level: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Sends the log to standard error in this format, with the messages of panics as well. The thread that writes it
    /// keeps to `cores`, if there are any: those of workers are not to be disturbed.
    ///
    /// # Errors
    /// The operating system starts no thread, or standard error cannot be shared.
    pub fn start(settings: &Settings, cores: &[u32]) -> io::Result<Log> {
        // A handle of its own: who writes to standard error besides us must not wait for a lock that we hold.
        let error = io::stderr();
        let out = File::from(error.as_fd().try_clone_to_owned()?);
        let (lines, shared) = start(out, cores, |lines| {
            tracing::warn!(lines, "log lines were lost: nobody read them in time")
        })?;
        let to = move || lines.clone();
        let (filter, level) = reload::Layer::new(targets(settings.level));
        let registry = tracing_subscriber::registry().with(filter);
        let layer = tracing_subscriber::fmt::layer();
        let set = match settings.format {
            LogFormat::Text => registry.with(layer.with_ansi(error.is_terminal()).with_writer(to)).try_init(),
            LogFormat::Json => registry.with(layer.json().flatten_event(true).with_writer(to)).try_init(),
        };
        if let Err(why) = set {
            // A log that was set up before stays.
            tracing::warn!(%why, "log is set up already");
        }
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            tracing::error!(thread = thread.name(), "{panic}");
        }));
        Ok(Log { shared, level })
    }

    /// Lines lost so far.
    #[must_use]
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.shared.lost.clone()
    }

    /// Waits up to 1 s for the lines so far to be written. A signal handler may call it.
    pub fn last_lines(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || {
            let began = Instant::now();
            while shared.lines.load(Ordering::Acquire) > 0 && began.elapsed() < LAST_LINES {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// The way to change the level.
    #[must_use]
    pub fn set_level(&self) -> Box<dyn Fn(LogLevel)> {
        let handle = self.level.clone();
        Box::new(move |level| {
            let _ = handle.reload(targets(level));
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.last_lines()();
    }
}

/// Our own messages and DPDK's by level; of libraries only warnings.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_target("ilagate", level)
        .with_target("dpdk", level)
        .with_default(LevelFilter::WARN.min(level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, PipeReader};
    use std::sync::mpsc::channel;

    fn line(n: usize) -> Vec<u8> {
        format!("line {n}\n").into_bytes()
    }

    /// A log into a pipe, its other end, and what the log said about lost lines.
    fn piped() -> (Lines, Arc<Shared>, PipeReader, Receiver<u64>) {
        let (reader, writer) = io::pipe().unwrap();
        let (tell, told) = channel();
        let (lines, shared) = start(writer, &[], move |lost| tell.send(lost).unwrap_or_default()).unwrap();
        (lines, shared, reader, told)
    }

    #[test]
    fn every_line_comes_out_in_order() {
        let (mut lines, _, reader, _) = piped();
        std::thread::spawn(move || (0..10_000).for_each(|n| lines.write_all(&line(n)).unwrap()));
        for (n, text) in BufReader::new(reader).lines().enumerate() {
            assert_eq!(text.unwrap(), format!("line {n}"));
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up_and_what_is_lost_is_counted_and_told() {
        let (mut lines, shared, mut reader, told) = piped();
        let count = 2 * MAX_LINES + 20_000;
        (0..count).for_each(|n| lines.write_all(&line(n)).unwrap());
        let lost = shared.lost.load(Ordering::Relaxed);
        assert!(lost > 0, "{lost}");
        assert!(shared.lines.load(Ordering::Relaxed) <= MAX_LINES + 1);
        std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        // Lines may have been lost while the pipe still took some: then it was told in parts.
        let mut sum = 0;
        while sum < lost {
            sum += told.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        assert_eq!(sum, lost);
        while shared.lines.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(shared.bytes.load(Ordering::Relaxed), 0);
    }

    /// This test as a process of its own, which aborts with lines that nobody has read yet.
    #[cfg(feature = "dpdk")]
    #[test]
    fn the_last_words_before_an_abort_are_written() {
        const CHILD: &str = "ILAGATE_TEST_ABORTS";
        let count = 3000;
        if std::env::var_os(CHILD).is_some() {
            let log = Log::start(&Settings { level: LogLevel::Info, format: LogFormat::Text }, &[]).unwrap();
            crate::dpdk::before_abort(log.last_lines());
            (0..count).for_each(|n| tracing::error!("{n} of the lines that do not fit a pipe"));
            std::process::abort();
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node::log::tests::the_last_words_before_an_abort_are_written", "--nocapture"])
            .env(CHILD, "1")
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let mut text = String::new();
        io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
        assert!(text.contains(&format!("{} of the lines", count - 1)), "{} lines", text.lines().count());
        let signal = std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap());
        assert_eq!(signal, Some(libc::SIGABRT));
    }

    #[test]
    fn the_thread_keeps_to_its_cores() {
        let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
        let core = (0..CpuSet::count()).find(|core| allowed.is_set(*core).unwrap()).unwrap();
        struct Where(Option<std::sync::mpsc::Sender<CpuSet>>);
        impl Write for Where {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let cores = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
                self.0.take().unwrap().send(cores).unwrap();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (tell, told) = channel();
        let (mut lines, _) = start(Where(Some(tell)), &[core as u32], |_| ()).unwrap();
        lines.write_all(b"x").unwrap();
        let cores = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(
            (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap()).collect::<Vec<_>>(),
            [core]
        );
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let (mut lines, shared, _reader, _) = piped();
        let long = vec![b'x'; MAX_BYTES / 4];
        (0..20).for_each(|_| lines.write_all(&long).unwrap());
        assert!(shared.bytes.load(Ordering::Relaxed) <= MAX_BYTES);
        assert!(shared.lost.load(Ordering::Relaxed) >= 15);
    }

    /// Takes what `takes` says, one call after the other, and then nothing any more.
    struct Odd(Vec<io::Result<usize>>, Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Odd {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let take = if self.0.is_empty() { Ok(bytes.len()) } else { self.0.remove(0) };
            let take = take.map(|take| take.min(bytes.len()))?;
            self.1.lock().unwrap().extend_from_slice(&bytes[..take]);
            Ok(take)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_a_slow_file_does_not() {
        let kind = |kind: io::ErrorKind| Err(io::Error::from(kind));
        for (takes, lost, written) in [
            (vec![kind(io::ErrorKind::StorageFull)], 1, "b\n"),
            (vec![kind(io::ErrorKind::BrokenPipe), kind(io::ErrorKind::BrokenPipe)], 2, ""),
            (vec![Ok(0)], 1, "b\n"),
            (vec![Ok(1), kind(io::ErrorKind::WouldBlock), kind(io::ErrorKind::Interrupted)], 0, "a\nb\n"),
        ] {
            let (queue, lines) = sync_channel(2);
            queue.send(b"a\n".to_vec()).unwrap();
            queue.send(b"b\n".to_vec()).unwrap();
            drop(queue);
            let shared = Shared { lines: 2.into(), bytes: 4.into(), ..Shared::default() };
            let text = Arc::default();
            write(Odd(takes, Arc::clone(&text)), &lines, &shared, |_| ());
            assert_eq!(shared.lost.load(Ordering::Relaxed), lost);
            assert_eq!(text.lock().unwrap().as_slice(), written.as_bytes());
        }
    }
}
