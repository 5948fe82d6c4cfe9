//! What befalls a real `ila-nva` and a real etcd: they are killed around commits, paused and cut off, their disk is full,
//! their clock jumps, and crowds connect and say nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/authority.rs"]
mod authority;
#[cfg(feature = "etcd")]
#[path = "support/etcd.rs"]
mod etcd;
#[cfg(feature = "etcd")]
#[path = "support/proxy.rs"]
mod proxy;

use authority::{Authority, SIR, Session, TASK, TIMEOUT, locator};
use ilagate::nva::v1::{self, down, up};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use prost::Message as _;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tonic::transport::Endpoint;

impl Authority {
    /// A session in the clear that was welcomed.
    async fn welcome_in_the_clear(&self, who: &str) -> Session {
        let text = std::fs::read_to_string(self.directory.path().join("nva.yaml")).unwrap();
        let (_, rest) = text.split_once("http://").unwrap();
        let address = rest.split('"').next().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Session::over(endpoint.connect().await.unwrap()).await.unwrap().greet(who, false).await
    }

    /// What the endpoint of metrics says of a sample.
    fn metric(&self, sample: &str) -> f64 {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{sample}: {text}"))
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }
}

fn key(n: u64) -> Option<v1::Key> {
    Some(v1::Key { sir_prefix: SIR, identifier: TASK + n })
}

/// Registers at the locator of an NVE.
fn register(id: u64, n: u64, (nve, weight): (u64, u32)) -> up::Message {
    let locators = vec![v1::Locator { prefix: locator(nve), priority: 0, weight }];
    up::Message::Register(v1::Register { id, key: key(n), locators, known_sequence: 0, mac: 0 })
}

/// What a session knows: the sequence of each mapping.
#[derive(Default)]
struct Known(BTreeMap<u64, u64>);

impl Known {
    /// Takes over encoded mappings.
    fn learn(&mut self, bytes: &[u8]) {
        for mapping in v1::Mappings::decode(bytes).unwrap().mappings {
            let n = mapping.key.unwrap().identifier - TASK;
            match mapping.locators.is_empty() {
                true => _ = self.0.remove(&n),
                false => _ = self.0.insert(n, mapping.sequence),
            }
        }
    }

    /// Follows a session until `holds`.
    async fn follow(&mut self, session: &mut Session, holds: impl Fn(&Known) -> bool) {
        while !holds(self) {
            match session.next().await.unwrap().unwrap() {
                down::Message::Page(page) => self.learn(&page.mappings),
                down::Message::Delta(delta) => self.learn(&delta.mappings),
                down::Message::Error(error) => panic!("{}", error.why),
                _ => {}
            }
        }
    }
}

/// Everything, told anew.
async fn snapshot(session: &mut Session) -> Known {
    session.say(up::Message::Subscribe(v1::Subscribe::default())).await;
    let mut known = Known::default();
    loop {
        match session.next().await.unwrap().unwrap() {
            down::Message::Page(page) => known.learn(&page.mappings),
            down::Message::SnapshotEnd(_) => return known,
            _ => {}
        }
    }
}

/// Registers and releases, many at a time, kills, and looks whether what was acknowledged is there: again and again.
async fn what_was_acknowledged_outlives(mut authority: Authority, mut kill: impl FnMut(&mut Authority)) {
    // Held with this sequence, or free; none while that is not known.
    let mut acknowledged: BTreeMap<u64, Option<Option<u64>>> = BTreeMap::new();
    let (mut next, mut answers) = (0, 0);
    for round in 0..6 {
        let mut session = authority.welcome("nve1").await;
        let mut asked = BTreeMap::new();
        let (begin, mut killed) = (Instant::now(), false);
        let after = Duration::from_millis(100 + 61 * round);
        loop {
            while !killed && asked.len() < 64 {
                next += 1;
                asked.insert(next, (next, true));
                acknowledged.insert(next, None);
                session.say(register(next, next, (1, 1))).await;
            }
            match session.next().await {
                Ok(Some(down::Message::Registered(v1::Registered { id, sequence, .. }))) => {
                    let (n, is_register) = asked.remove(&id).unwrap();
                    acknowledged.insert(n, Some(is_register.then_some(sequence)));
                    answers += 1;
                    if is_register && n % 3 == 0 {
                        next += 1;
                        asked.insert(next, (n, false));
                        acknowledged.insert(n, None);
                        let release = v1::Unregister { id: next, key: key(n) };
                        session.say(up::Message::Unregister(release)).await;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
            if !killed && begin.elapsed() > after && answers > 20 * (round as usize) {
                kill(&mut authority);
                killed = true;
            }
        }
        assert!(killed, "the session ended by itself: {}", authority.log.lock().unwrap());
        authority.again(|_| ());
        let known = snapshot(&mut authority.welcome("nve2").await).await;
        for (n, state) in &acknowledged {
            if let Some(state) = state {
                assert_eq!(known.0.get(n), state.as_ref(), "identifier {n}, round {round}");
            }
        }
        // What was asked for and not answered is there or not, and that is known now.
        acknowledged.iter_mut().for_each(|(n, state)| *state = Some(known.0.get(n).copied()));
    }
    assert!(answers > 100, "{answers} answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_authority_with_a_file_acknowledged_is_there_after_kill_9() {
    let kill = |authority: &mut Authority| authority.process.kill().unwrap();
    what_was_acknowledged_outlives(Authority::start(), kill).await;
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn what_an_authority_before_etcd_acknowledged_is_there_after_kill_9_of_both() {
    let Some(mut etcd) = etcd::Etcd::start(&[]) else { return };
    let authority = Authority::over("nva1", Some(etcd.client), &[]);
    let mut round = 0;
    let kill = |authority: &mut Authority| {
        round += 1;
        if round % 2 == 0 {
            etcd.kill();
            etcd.again();
        }
        authority.process.kill().unwrap();
    };
    what_was_acknowledged_outlives(authority, kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_who_say_nothing_take_few_files_and_keep_nobody_out() {
    let mut authority = Authority::start();
    let process = authority.process.id();
    let files = move || std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let kib = move || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let mut before = authority.welcome("nve2").await;
    let (files_before, kib_before) = (files(), kib());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let many = most.saturating_sub(1_000).min(10_000);
    let address = authority.address;
    let connect = move || {
        let (mut silent, mut peak) = (Vec::new(), (0, 0));
        for n in 0..many {
            silent.push(TcpStream::connect(address).unwrap());
            // What the kernel has no room for before the authority takes it waits for a second.
            if n % 32 == 0 {
                std::thread::sleep(Duration::from_millis(3));
            }
            if n % 100 == 0 {
                peak = (files().max(peak.0), kib().max(peak.1));
            }
        }
        (silent, peak)
    };
    let (silent, (files_peak, kib_peak)) = tokio::task::spawn_blocking(connect).await.unwrap();
    // Handshakes under way and connections that wait for their turn.
    assert!(files_peak < files_before + 700, "{files_before} open files grew to {files_peak}");
    assert!(kib_peak < kib_before + (64 << 10), "{kib_before} KiB grew to {kib_peak}");
    // An NVE comes in as long as they are there, at the first try or at one soon after.
    let begin = Instant::now();
    let mut own = loop {
        match authority.open("nve-nve1").await {
            Ok(session) => break session.greet("nve1", false).await,
            Err(why) => assert!(begin.elapsed() < TIMEOUT, "{why}"),
        }
    };
    for (session, n) in [(&mut own, 1), (&mut before, 2)] {
        assert!(matches!(session.register(TASK + n, locator(n)).await, down::Message::Registered(_)));
    }
    assert_eq!(silent.len() as u64, many);
    assert!(authority.is_well());
}

/// The library that shows a process another time, if it is installed.
fn faketime() -> Option<String> {
    let directories = std::fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = directories.map(|path| path.join("faketime/libfaketimeMT.so.1"));
    let library = found.find(|path| path.exists());
    if library.is_none() {
        eprintln!("skipped: there is no libfaketime here; scripts/setup installs it");
    }
    library.map(|path| path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ends_no_session_but_those_whose_certificates_are_not_valid_then() {
    let Some(library) = faketime() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("offset");
    let jump = |offset: &str| std::fs::write(&file, offset).unwrap();
    jump("+0");
    let (preload, timestamp) =
        (format!("LD_PRELOAD={library}"), format!("FAKETIME_TIMESTAMP_FILE={}", file.display()));
    let words = ["env", &preload, &timestamp, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let mut authority = Authority::over("nva1", None, &words);
    let mut session = authority.welcome_in_the_clear("nve1").await;
    let (mut n, mut last) = (0, 0);
    let mut goes_on = async |session: &mut Session, authority: &Authority| {
        n += 1;
        let down::Message::Registered(now) = session.register(TASK + n, locator(1)).await else {
            panic!("{}", authority.log.lock().unwrap());
        };
        assert!(now.sequence > last, "a sequence goes back");
        last = now.sequence;
    };
    // An hour ahead, an hour back, and after all certificates are over.
    for (offset, is_valid, why) in [
        ("+3600", true, ""),
        ("-3600", false, "not valid yet"),
        ("+108000", false, "xpired"),
        ("+0", true, ""),
    ] {
        jump(offset);
        goes_on(&mut session, &authority).await;
        let begin = Instant::now();
        loop {
            let opened = authority.open("nve-nve2").await;
            if opened.is_ok() == is_valid && (why.is_empty() || authority.said(why)) {
                break;
            }
            assert!(begin.elapsed() < TIMEOUT, "{offset}: {}", authority.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        goes_on(&mut session, &authority).await;
    }
    // One that starts with a clock that is wrong has everything, and sequences rise.
    jump("-3600");
    authority.again(|_| ());
    let mut session = authority.welcome_in_the_clear("nve1").await;
    goes_on(&mut session, &authority).await;
    let known = snapshot(&mut authority.welcome_in_the_clear("nve2").await).await;
    assert_eq!(known.0.len() as u64, n);
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_cut_off_from_etcd_tells_what_it_knows_and_answers_the_rest_afterwards() {
    let Some(etcd) = etcd::Etcd::start(&[]) else { return };
    let proxy = proxy::Proxy::before(etcd.client);
    let authority = Authority::over("nva1", Some(proxy.address), &[]);
    let other = Authority::over("nva2", Some(etcd.client), &[]);
    let mut session = authority.welcome("nve1").await;
    assert!(matches!(session.register(TASK + 1, locator(1)).await, down::Message::Registered(_)));
    assert!((authority.metric("ila_nva_store_up") - 1.0).abs() < 0.1);
    let cut = |cut: bool| {
        proxy.is_closed.store(cut, std::sync::atomic::Ordering::SeqCst);
        proxy.cut();
    };
    cut(true);
    let begin = Instant::now();
    while authority.metric("ila_nva_store_up") > 0.1 {
        assert!(begin.elapsed() < TIMEOUT, "nobody is told that the store is away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One that follows everything comes and is told; one that asks, too.
    assert_eq!(snapshot(&mut authority.welcome("nve2").await).await.0.len(), 1);
    let mut asks = authority.open("nve-nve2").await.unwrap().greet("nve2", true).await;
    asks.say(up::Message::Query(v1::Query { id: 5, keys: vec![key(1).unwrap()] })).await;
    let down::Message::Answer(answer) = asks.next().await.unwrap().unwrap() else { panic!() };
    let mut known = Known::default();
    known.learn(&answer.mappings);
    assert_eq!(known.0.len(), 1);
    // The session from before is there, and what it asks for is neither confirmed nor refused.
    session.say(register(7, 2, (1, 1))).await;
    session.say(up::Message::Beat(v1::Beat {})).await;
    assert!(matches!(session.next().await.unwrap(), Some(down::Message::Progress(_))));
    let answer = tokio::time::timeout(Duration::from_secs(1), session.downs.message()).await;
    assert!(answer.is_err(), "{answer:?}");
    // The others go on.
    let mut elsewhere = other.welcome("nve2").await;
    assert!(matches!(elsewhere.register(TASK + 3, locator(2)).await, down::Message::Registered(_)));
    cut(false);
    loop {
        match session.next().await.unwrap().unwrap() {
            down::Message::Registered(registered) => break assert_eq!(registered.id, 7),
            down::Message::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let known = snapshot(&mut session).await;
    assert_eq!(known.0.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_stood_still_while_etcd_forgot_reads_everything_anew() {
    use nix::sys::signal::Signal;
    let Some(etcd) = etcd::Etcd::start(&[]) else { return };
    let proxy = proxy::Proxy::before(etcd.client);
    let mut authority = Authority::over("nva1", Some(proxy.address), &[]);
    let other = Authority::over("nva2", Some(etcd.client), &[]);
    let mut follows = authority.welcome("nve1").await;
    let mut known = snapshot(&mut follows).await;
    let mut registers = other.welcome("nve2").await;
    authority.signal(Signal::SIGSTOP);
    // What was on its way to it is gone, and what came since is forgotten.
    proxy.cut();
    for n in 0..20 {
        registers.say(register(n, n, (2, 1))).await;
    }
    for _ in 0..20 {
        assert!(matches!(registers.next().await.unwrap(), Some(down::Message::Registered(_))));
    }
    etcd.ctl(&["compact", &etcd.revision().unwrap().to_string()]).unwrap();
    authority.signal(Signal::SIGCONT);
    follows.say(up::Message::Beat(v1::Beat {})).await;
    known.follow(&mut follows, |known| known.0.len() == 20).await;
    // And it goes on from there.
    assert!(matches!(registers.register(TASK + 20, locator(2)).await, down::Message::Registered(_)));
    known.follow(&mut follows, |known| known.0.len() == 21).await;
    assert!(authority.is_well());
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_is_told_of_in_its_own_words_and_survived() {
    let Some(etcd) = etcd::Etcd::start(&["--quota-backend-bytes", "1048576"]) else { return };
    let mut authority = Authority::over("nva1", Some(etcd.client), &[]);
    let mut session = authority.welcome("nve1").await;
    // Again and again the same identifiers, so that old revisions fill it and nothing that lives; so many that none
    // changes too often.
    let mut answers = 0_u32;
    let mut change = async |session: &mut Session, most: u32| {
        for _ in 0..most {
            answers += 1;
            for n in 0..64 {
                let identifier = n + 64 * u64::from(answers % 32);
                session.say(register(n, identifier, (1, 1 + answers % 1_000))).await;
            }
            for _ in 0..64 {
                if let down::Message::Refused(refused) = session.next().await.unwrap().unwrap() {
                    return Some(refused);
                }
            }
        }
        None
    };
    let refused = change(&mut session, 1_000).await.expect("it is never full");
    assert!(refused.temporary && refused.why.contains("database space exceeded"), "{}", refused.why);
    let begin = Instant::now();
    let shows = || authority.metric("ila_nva_commits_total{result=\"refused\"}") >= 1.0;
    while !(authority.said("the store refuses a transaction") && shows()) {
        assert!(begin.elapsed() < TIMEOUT, "nobody is told that etcd is full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What is known is told still.
    assert!(snapshot(&mut authority.welcome("nve2").await).await.0.len() >= 64);
    etcd.ctl(&["compact", &etcd.revision().unwrap().to_string()]).unwrap();
    etcd.ctl(&["defrag"]).unwrap();
    etcd.ctl(&["alarm", "disarm"]).unwrap();
    let mut session = authority.welcome("nve1").await;
    let begin = Instant::now();
    while change(&mut session, 1).await.is_some() {
        assert!(begin.elapsed() < TIMEOUT, "it never goes on");
        session = authority.welcome("nve1").await;
        // An NVE opens one connection a second.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    assert!(authority.is_well());
}
