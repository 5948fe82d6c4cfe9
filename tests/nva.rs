//! `ila-nva` as a hostile client sees it: by mutual TLS, with certificates that are valid and messages that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/authority.rs"]
mod support;
#[path = "nva/claims.rs"]
mod claims;
#[path = "nva/operators.rs"]
mod operators;

use ilagate::api::manage::{self, manage_client::ManageClient};
use ilagate::config::TlsFiles;
use ilagate::nva::metrics::FAMILIES;
use ilagate::nva::v1::{self, down, up};
use ilagate::tls::{client, pki};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Authority, SIR, Session, TASK, TIMEOUT, locator};
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::Code;

impl Authority {
    fn ilactl(&self, who: &str, words: &[&str]) -> (bool, String) {
        let TlsFiles { certificate, key, authorities } = self.files(who);
        let done = Command::new(env!("CARGO_BIN_EXE_ilactl"))
            .env("ILACTL_NVA", format!("https://{}", self.address))
            .env("ILACTL_TLS_CERT", certificate)
            .env("ILACTL_TLS_KEY", key)
            .env("ILACTL_TLS_CA", authorities)
            .arg("nva")
            .args(words)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        (done.status.success(), text)
    }
}

impl Session {
    /// Why the session ends.
    async fn end(mut self) -> String {
        loop {
            match self.next().await {
                Ok(Some(down::Message::Error(v1::Error { why }))) => return why,
                Ok(Some(_)) => {}
                Ok(None) => return "the end".to_owned(),
                Err(why) => return why.message().to_owned(),
            }
        }
    }
}

fn hello(nve: &str) -> up::Message {
    up::Message::Hello(v1::Hello {
        versions: vec![1],
        nve: nve.to_owned(),
        boot: 1,
        asks: false,
        digests: false,
        moves: Vec::new(),
        groups: false,
    })
}

#[tokio::test]
async fn a_certificate_speaks_for_its_own_nve_and_for_nothing_else() {
    let mut authority = Authority::start();
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    // Under another's name.
    let mut session = authority.open("nve-nve2").await.unwrap();
    session.say(hello("nve1")).await;
    assert_eq!(
        session.next().await.unwrap(),
        Some(down::Message::Error(v1::Error {
            why: "the certificate is that of nve2, and Hello says `nve1`".to_owned()
        }))
    );
    // A valid certificate of an NVE that nobody listed.
    let session = authority.open("nve-stranger").await.unwrap();
    session.say(hello("stranger")).await;
    assert!(session.end().await.contains("`stranger` is no NVE of this authority"));
    // Other roles have no sessions.
    for who in ["operator-alice", "nva-nva1"] {
        let why = authority.open(who).await.map(|_| ()).unwrap_err();
        assert_eq!(why.code(), Code::PermissionDenied);
        assert!(why.message().contains("is no NVE"), "{why}");
    }
    // What another has, and where another is.
    let mut other = authority.welcome("nve2").await;
    match other.register(TASK, locator(2)).await {
        down::Message::Refused(refused) => assert_eq!(refused.owner, "nve1"),
        answer => panic!("{answer:?}"),
    }
    match other.register(TASK + 1, locator(1)).await {
        down::Message::Refused(refused) => assert!(refused.why.contains("is not a locator of nve2")),
        answer => panic!("{answer:?}"),
    }
    let key = Some(v1::Key { sir_prefix: SIR, identifier: TASK });
    other.say(up::Message::Unregister(v1::Unregister { id: 8, key })).await;
    match other.next().await.unwrap().unwrap() {
        down::Message::Refused(refused) => assert_eq!(refused.owner, "nve1"),
        answer => panic!("{answer:?}"),
    }
    assert!(authority.is_well());
}

#[tokio::test]
async fn a_certificate_of_strangers_opens_nothing() {
    let mut authority = Authority::start();
    let here = authority.files("nve-nve1");
    // The same name, of another certificate authority and of another deployment.
    let strangers = tempfile::tempdir().unwrap();
    for domain in ["lab", "other"] {
        let directory = strangers.path().join(domain);
        pki::make_authority(&directory, domain, 2).unwrap();
        pki::issue(&directory, &format!("ilagate://{domain}/nve/nve1").parse().unwrap(), 1).unwrap();
        let at = |name: &str| directory.join(name);
        let own = TlsFiles { certificate: at("nve-nve1.pem"), key: at("nve-nve1.key"), ..here.clone() };
        let session = match authority.connect_with(&own).await {
            Ok(channel) => Session::over(channel).await.map_err(|why| why.to_string()),
            Err(why) => Err(why),
        };
        assert!(session.is_err(), "{domain}");
        // And it does not believe the authority.
        let foreign = TlsFiles { authorities: at("ca.pem"), ..own };
        let why = authority.connect_with(&foreign).await.unwrap_err();
        assert!(why.contains("UnknownIssuer") || why.contains("BadSignature"), "{why}");
    }
    let end = Instant::now() + TIMEOUT;
    while !authority.said("a connection is refused") {
        assert!(Instant::now() < end, "{}", authority.log.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = authority.welcome("nve1").await.register(TASK, locator(1)).await;
    assert!(matches!(answer, down::Message::Registered(_)));
    assert!(authority.is_well());
}

#[tokio::test]
async fn messages_that_break_the_protocol_end_their_session_and_no_other() {
    let mut authority = Authority::start();
    let mut other = authority.welcome("nve2").await;
    let big = up::Message::Hello(v1::Hello { nve: "x".repeat(2 << 20), ..Default::default() });
    let no_key =
        up::Message::Register(v1::Register { id: 1, key: None, locators: vec![], known_sequence: 0, mac: 0 });
    let key = Some(v1::Key { sir_prefix: SIR, identifier: TASK });
    let one = v1::Locator { prefix: locator(1), priority: 0, weight: 1 };
    let many = up::Message::Register(v1::Register {
        id: 1,
        key,
        locators: vec![one; 17],
        known_sequence: 0,
        mac: 0,
    });
    let heavy = v1::Locator { weight: 1 << 20, ..one };
    let too_heavy =
        up::Message::Register(v1::Register { id: 1, key, locators: vec![heavy], known_sequence: 0, mac: 0 });
    for (what, message, why) in [
        ("big", Some(big), "message length too large"),
        ("no key", Some(no_key), "a request without a key"),
        ("17 locators", Some(many), "17 locators; at most 16"),
        ("weight", Some(too_heavy), "priority 0 and weight 1048576"),
        ("second Hello", Some(hello("nve1")), "a second Hello"),
        ("nothing in it", None, "an empty message"),
    ] {
        let session = authority.welcome("nve1").await;
        let _ = session.up.send(v1::Up { message }).await;
        let told = session.end().await;
        assert!(told.contains(why) || (what == "big" && told == "the end"), "{what}: {told}");
    }
    let early = authority.open("nve-nve1").await.unwrap();
    early.say(up::Message::Beat(v1::Beat {})).await;
    assert!(early.end().await.contains("the first message is not Hello"));
    let old = authority.open("nve-nve1").await.unwrap();
    let versions = vec![0, 99];
    old.say(up::Message::Hello(v1::Hello { versions, nve: "nve1".to_owned(), ..Default::default() })).await;
    assert!(old.end().await.contains("this authority speaks version 1, and the NVE 0, 99"));
    assert!(matches!(other.register(TASK, locator(2)).await, down::Message::Registered(_)));
    assert!(authority.is_well());
}

#[tokio::test]
async fn the_stream_of_a_session_that_ended_is_closed_in_both_directions() {
    let mut authority = Authority::start();
    let mut old = authority.welcome("nve1").await;
    let mut new = authority.welcome("nve1").await;
    assert!(matches!(old.next().await, Ok(Some(down::Message::Error(_)))));
    assert_eq!(old.next().await.unwrap(), None);
    tokio::time::timeout(TIMEOUT, old.up.closed()).await.expect("the authority goes on reading");
    assert!(matches!(new.register(TASK, locator(1)).await, down::Message::Registered(_)));
    assert!(authority.is_well());
}

#[tokio::test]
async fn one_identity_does_not_wear_the_authority_out_by_connecting() {
    let mut authority = Authority::start();
    let mut other = authority.welcome("nve2").await;
    let (mut opened, begin) = (Vec::new(), Instant::now());
    for _ in 0..40 {
        if let Ok(session) = authority.open("nve-nve1").await {
            opened.push(session);
        }
    }
    // Ten at once, and one more for each second that it took.
    let most = 11 + begin.elapsed().as_secs() as usize;
    assert!((10..=most).contains(&opened.len()), "{} connections were taken", opened.len());
    let told = "ilagate://lab/nve/nve1 opens too many connections";
    assert!(opened.len() == 40 || authority.log.lock().unwrap().contains(told));
    assert!(matches!(other.register(TASK, locator(2)).await, down::Message::Registered(_)));
    assert!(authority.is_well());
}

#[tokio::test]
async fn bytes_that_are_no_handshake_get_nothing_and_cost_nothing() {
    let mut authority = Authority::start();
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[22, 3, 1, 0xff, 0xff],
        &[22, 3, 3, 0, 4, 1, 0xff, 0xff, 0xff],
        &[0; 1000],
        // A ClientHello of TLS 1.2 only: no supported_versions.
        &tls12(),
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(authority.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // An alert of TLS, or nothing.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:02x?}");
    }
    assert!(matches!(
        authority.welcome("nve1").await.register(TASK, locator(1)).await,
        down::Message::Registered(_)
    ));
    assert!(authority.is_well());
}

#[tokio::test]
async fn who_says_nothing_is_cut_off_before_and_after_the_handshake() {
    let authority = Authority::start();
    let connect = || tokio::net::TcpStream::connect(authority.address);
    let (mut silent, begin) = (connect().await.unwrap(), Instant::now());
    let connector = TlsConnector::from(client::config(&authority.files("nve-nve1")).unwrap().0);
    let name = ServerName::IpAddress(authority.address.ip().into());
    let mut shaken = connector.connect(name, connect().await.unwrap()).await.unwrap();
    let (mut none, mut settings) = (Vec::new(), Vec::new());
    let within =
        |s| tokio::time::timeout_at((begin + Duration::from_secs(s)).into(), std::future::pending::<()>());
    tokio::select! {
        _ = silent.read_to_end(&mut none) => assert!(begin.elapsed().as_secs() >= 4),
        _ = within(20) => panic!("the handshake never ends"),
    }
    tokio::select! {
        _ = shaken.read_to_end(&mut settings) => assert!(begin.elapsed().as_secs() >= 9),
        _ = within(30) => panic!("the connection without a call stays"),
    }
    assert!(none.is_empty());
}

/// A ClientHello without extensions.
fn tls12() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    record
}

#[test]
fn an_authority_tells_prometheus_and_probes_how_it_is() {
    let authority = Authority::start();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(authority.metrics).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(get("/healthz").ends_with("alive\n") && get("/readyz").ends_with("serving\n"));
    let count = |text: &str, sample: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(sample));
        line.unwrap_or_else(|| panic!("{sample}: {text}")).trim().parse::<f64>().unwrap()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (own, other) = runtime.block_on(async {
        let (mut own, mut other) = (authority.welcome("nve1").await, authority.welcome("nve2").await);
        assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
        assert!(matches!(other.register(TASK, locator(2)).await, down::Message::Refused(_)));
        (own, other)
    });
    let text = get("/metrics");
    for (sample, value) in [
        ("ila_nva_revision", 1.0),
        ("ila_nva_identifiers{state=\"held\"}", 1.0),
        ("ila_nva_nves{state=\"session\"}", 2.0),
        ("ila_nva_nves{state=\"away\"}", 0.0),
        ("ila_nva_lag_transactions", 0.0),
        ("ila_nva_requests_total{result=\"accepted\"}", 1.0),
        ("ila_nva_requests_total{result=\"refused\"}", 1.0),
        ("ila_nva_commits_total{result=\"durable\"}", 1.0),
        ("ila_nva_events_total{kind=\"registered\"}", 1.0),
        ("ila_nva_events_total{kind=\"refused\"}", 1.0),
        ("ila_nva_convergence_seconds_count", 0.0),
        ("ila_nva_longest_absence_seconds", 0.0),
        ("ila_nva_watchers", 0.0),
    ] {
        assert!((count(&text, sample) - value).abs() < 0.1, "{sample}: {text}");
    }
    for family in FAMILIES {
        assert!(text.contains(&format!("# TYPE {} ", family.name)), "{}", family.name);
    }
    drop((own, other));
}

#[tokio::test]
async fn a_registry_is_backed_up_verified_and_restored() {
    let mut authority = Authority::start();
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    let path = |name: &str| authority.directory.path().join(name);
    let (config, store, copy) = (path("nva.yaml"), path("nva.redb"), path("copy.redb"));
    let run = |words: &[&std::ffi::OsStr]| {
        let done = Command::new(env!("CARGO_BIN_EXE_ila-nva")).args(words).output().unwrap();
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        (done.status.success(), text)
    };
    let backup =
        ["backup".as_ref(), "--config".as_ref(), config.as_os_str(), "--to".as_ref(), copy.as_os_str()];
    let restore =
        ["restore".as_ref(), "--config".as_ref(), config.as_os_str(), "--from".as_ref(), copy.as_os_str()];
    let verify = ["verify".as_ref(), copy.as_os_str()];
    // It runs, and has its registry for itself.
    let (done, told) = run(&backup);
    assert!(!done && told.contains("stop it first"), "{told}");
    let _ = authority.process.kill();
    let _ = authority.process.wait();
    let (done, told) = run(&backup);
    assert!(
        done && told.ends_with("copy.redb: revision 1, 1 identifiers, 0 released, 0 objects\n"),
        "{told}"
    );
    let (done, told) = run(&verify);
    assert!(done && told.contains("revision 1, 1 identifiers"), "{told}");
    let (done, told) = run(&restore);
    assert!(done && told.contains("set aside as") && told.contains("1 identifiers"), "{told}");
    // A damaged registry is refused, and left as it is, until a backup is put in its place.
    std::fs::write(&store, "damaged").unwrap();
    let (done, told) = run(&["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
    assert!(!done && told.contains("nva.redb") && told.contains("ila-nva restore"), "{told}");
    assert_eq!(std::fs::read(&store).unwrap(), b"damaged");
    assert!(run(&restore).0);
    std::fs::write(&copy, "damaged").unwrap();
    let (done, told) = run(&restore);
    assert!(!done && told.contains("copy.redb: damaged"), "{told}");
}

#[test]
fn files_that_cannot_be_used_end_the_authority_with_their_name() {
    let directory = tempfile::tempdir().unwrap();
    let run = |tls: &str| {
        let config = directory.path().join("nva.yaml");
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"https://127.0.0.1:1\"]\n{tls}store: {{path: {}}}\n",
            directory.path().join("nva.redb").display()
        );
        std::fs::write(&config, text).unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_ila-nva"))
            .args(["run", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        assert!(!ended.status.success());
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let none = run("");
    assert!(none.contains("tls: missing, and there is an https address"), "{none}");
    let missing = Path::new("/nonexistent/nva.pem").display();
    let why = run(&format!("tls: {{certificate: {missing}, key: {missing}, authorities: {missing}}}\n"));
    assert!(why.contains("/nonexistent/nva.pem"), "{why}");
    let relative = run("tls: {certificate: nva.pem, key: /k, authorities: /a, revoked: r}\n");
    assert!(relative.contains("tls.certificate: `nva.pem` is not an absolute path"), "{relative}");
    assert!(relative.contains("tls.revoked: `r` is not an absolute path"), "{relative}");
}

#[test]
fn a_file_in_the_place_of_a_socket_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("precious"), "precious").unwrap();
    let [listen, store] = ["precious", "nva.redb"].map(|name| path(name).display().to_string());
    let config = format!("nva: {{name: nva1}}\nlisten: [\"unix:{listen}\"]\nstore: {{path: {store}}}\n");
    std::fs::write(path("nva.yaml"), config).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_ila-nva"))
        .args(["run", "--config"])
        .arg(path("nva.yaml"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("precious is no socket; move it away"), "{told}");
    assert_eq!(std::fs::read(path("precious")).unwrap(), b"precious");
}

#[tokio::test]
async fn a_reload_takes_over_what_may_change_and_refuses_the_rest_as_a_whole() {
    let authority = Authority::start();
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    let file = authority.directory.path().join("nva.yaml");
    let first = std::fs::read_to_string(&file).unwrap();
    let reload = |who: &str, text: &str| {
        std::fs::write(&file, text).unwrap();
        authority.ilactl(who, &["reload"])
    };
    let (done, text) = reload("operator-oscar", &first);
    assert!(!done && text.contains("this is for a role of admin"), "{text}");
    assert_eq!(reload("operator-alice", &first), (true, "nothing differs\n".to_owned()));
    // One key that needs a restart keeps back all.
    let nve1 = "- {name: nve1, locators: [{prefix: \"fd00:1::/64\", domain: tasks}]}\n";
    let without = first.replace(nve1, "");
    assert_ne!(without, first);
    let moved =
        without.replace(&authority.metrics.to_string(), "127.0.0.1:1").replace("name: nva1", "name: nva2");
    let (done, text) = reload("operator-alice", &moved);
    assert!(!done && text.contains("nva.name, metrics.listen: only a restart applies this"), "{text}");
    let (done, text) = reload("operator-alice", &without.replace("nve2", "NVE 2"));
    assert!(!done && text.contains("nves[0].name"), "{text}");
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    // Another operator comes, and an NVE goes: its session ends, and what it registered stays.
    assert!(!authority.ilactl("operator-nobody", &["status"]).0);
    let more = without.replace("- {name: victor}", "- {name: victor}\n- {name: nobody}");
    assert_eq!(reload("operator-alice", &more), (true, "applied nves\napplied operators\n".to_owned()));
    assert_eq!(own.end().await, "`nve1` is no NVE of this authority any more");
    let (done, text) = authority.ilactl("operator-nobody", &["nves"]);
    assert!(done && text.contains("nve1  unknown"), "{text}");
    // An operator releases it.
    let release = |nve| authority.ilactl("operator-oscar", &["release", "--nve", nve]);
    let (done, text) = release("nve2");
    assert!(!done && text.contains("nve2 is in nves and may come back"), "{text}");
    assert_eq!(release("nve1"), (true, "nve1: 1 identifiers released, revision 2\n".to_owned()));
    let (done, text) = release("nve1");
    assert!(!done && text.contains("`nve1` has nothing registered"), "{text}");
    // A signal does the same, also with the level of the log.
    std::fs::write(&file, format!("{first}log: {{level: debug}}\n")).unwrap();
    let process = nix::unistd::Pid::from_raw(authority.process.id() as i32);
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGHUP).unwrap();
    let end = Instant::now() + TIMEOUT;
    while !authority.log.lock().unwrap().contains("why=\"nves, operators, log.level\" who=\"SIGHUP\"") {
        assert!(Instant::now() < end, "{}", authority.log.lock().unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    authority.welcome("nve1").await;
    assert!(!authority.ilactl("operator-nobody", &["status"]).0);
}

#[tokio::test]
async fn a_restored_registry_gives_back_what_was_had_and_gives_nothing_new_until_it_may() {
    let mut authority = Authority::start();
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    assert!(authority.ilactl("operator-alice", &["backup", "copy.redb"]).0);
    // This is not in the backup.
    let down::Message::Registered(later) = own.register(TASK + 1, locator(1)).await else { panic!() };
    authority.again(|directory| {
        let done = Command::new(env!("CARGO_BIN_EXE_ila-nva"))
            .args(["restore", "--config"])
            .arg(directory.join("nva.yaml"))
            .arg("--from")
            .arg(directory.join("copy.redb"))
            .status();
        assert!(done.unwrap().success());
    });
    // It says so over another start.
    authority.again(|_| ());
    let (_, text) = authority.ilactl("operator-victor", &["status"]);
    assert!(text.contains("restored     waits for nve1, nve2"), "{text}");
    let is_refused = |answer| {
        matches!(answer, down::Message::Refused(v1::Refused { temporary: true, why, .. })
            if why.contains("restored from a backup"))
    };
    let mut other = authority.welcome("nve2").await;
    assert!(is_refused(other.register(TASK + 1, locator(2)).await));
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    let again = own.claim(TASK + 1, locator(1), later.sequence).await;
    assert!(matches!(again, down::Message::Registered(again) if again.sequence > later.sequence));
    assert!(is_refused(own.register(TASK + 2, locator(1)).await));
    let (done, text) = authority.ilactl("operator-victor", &["resume"]);
    assert!(!done && text.contains("this is for a role of operator"), "{text}");
    let (done, text) = authority.ilactl("operator-oscar", &["resume"]);
    assert!(done && text.contains("new identifiers are registered"), "{text}");
    assert!(matches!(other.register(TASK + 2, locator(2)).await, down::Message::Registered(_)));
    assert!(!authority.ilactl("operator-oscar", &["resume"]).0);
    assert!(!authority.ilactl("operator-victor", &["status"]).1.contains("restored"));
}

#[tokio::test]
async fn blocks_and_locators_are_of_one_nve_over_a_restart_and_operators_see_whose() {
    let mut authority = Authority::start();
    authority.again(|directory| {
        let path = directory.join("nva.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let pool = "locator_pools: [{domain: tasks, prefix: \"fd00:9::/63\"}]\n";
        std::fs::write(path, text.replace("lease_s: 60", "lease_s: 60, hold_down_s: 0") + pool).unwrap();
    });
    let lease = |block| v1::LeaseBlock { id: 9, sir_prefix: SIR, block };
    let leased = async |session: &mut Session, block| {
        session.say(up::Message::LeaseBlock(lease(block))).await;
        match session.next().await.unwrap().unwrap() {
            down::Message::BlockLeased(it) => it,
            answer => panic!("{answer:?}"),
        }
    };
    let mut own = authority.welcome("nve1").await;
    let mut other = authority.welcome("nve2").await;
    let block = leased(&mut own, None).await;
    assert_eq!((block.reached, block.lease_ms), (0, 3_600_000));
    assert_ne!(leased(&mut other, Some(block.block)).await.block, block.block);
    let first = 1 << 61 | u64::from(block.block) << 36;
    // An attacker who foresees what nve1 will make has nothing of it.
    let answer = other.register(first + 5, locator(2)).await;
    assert!(matches!(answer, down::Message::Refused(refused) if refused.owner == "nve1"));
    assert!(matches!(own.register(first + 5, locator(1)).await, down::Message::Registered(_)));
    // Everything is there after kill -9.
    authority.again(|_| ());
    let mut own = authority.welcome("nve1").await;
    let again = leased(&mut own, None).await;
    assert_eq!((again.block, again.reached), (block.block, first + 5));
    let prefix = std::net::Ipv6Addr::from(u128::from(SIR) << 64 | u128::from(first));
    let (seen, text) = authority.ilactl("operator-victor", &["blocks"]);
    assert!(seen && text.contains(&format!("{prefix}/92")) && text.lines().count() == 3, "{text}");
    let (_, text) = authority.ilactl("operator-victor", &["blocks", "--nve", "nve1"]);
    assert!(
        text.contains("  nve1  ")
            && (text.contains("59m 5") || text.contains("1h 0m 0s"))
            && text.lines().count() == 2,
        "{text}"
    );
    // A block that is not asked for in a session is taken back.
    let session = authority.welcome("nve2").await;
    session.say(up::Message::Complete(v1::Complete {})).await;
    let blocks = || authority.ilactl("operator-victor", &["--json", "blocks", "--nve", "nve2"]).1;
    let end = Instant::now() + TIMEOUT;
    while blocks() != "[]\n" {
        assert!(Instant::now() < end, "{}", blocks());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Locators.
    let ilactl = |who: &str, words: &[&str]| authority.ilactl(who, words);
    let (done, text) = ilactl("operator-victor", &["locator", "add", "nve1", "--domain", "tasks"]);
    assert!(!done && text.contains("this is for a role of operator"), "{text}");
    let pool = 0xfd00_0009_0000_0000;
    assert!(matches!(own.register(TASK, pool).await, down::Message::Refused(_)));
    let (done, text) = ilactl("operator-oscar", &["locator", "add", "nve1", "--domain", "tasks"]);
    assert!(done && text.starts_with("fd00:9::/64: allocated to nve1"), "{text}");
    assert!(matches!(own.register(TASK, pool).await, down::Message::Registered(_)));
    let (_, text) = ilactl("operator-victor", &["locator", "list"]);
    assert!(text.contains("fd00:9::/64  2001:db8:dddd::/64  nve1"), "{text}");
    assert!(ilactl("operator-victor", &["nves"]).1.contains("fd00:1::/64 fd00:9::/64"));
    let (done, text) = ilactl("operator-oscar", &["locator", "del", "fd00:9::/64"]);
    assert!(!done && text.contains("are reached at"), "{text}");
    let (done, text) = ilactl("operator-oscar", &["locator", "add", "nve9", "--domain", "tasks"]);
    assert!(!done && text.contains("add it to nves"), "{text}");
    assert!(ilactl("operator-oscar", &["locator", "add", "nve2", "--domain", "tasks"]).0);
    let (done, text) = ilactl("operator-oscar", &["locator", "add", "nve2", "--domain", "tasks"]);
    assert!(!done && text.contains("no pool has a free locator"), "{text}");
    let (done, text) = ilactl("operator-oscar", &["locator", "del", "fd00:9:0:1::/64"]);
    assert!(done && text.starts_with("fd00:9:0:1::/64: free"), "{text}");
}

#[tokio::test]
async fn a_storm_of_registrations_of_one_identifier_makes_few_changes_and_hurts_nobody() {
    let authority = Authority::start();
    let mut hostile = authority.welcome("nve1").await;
    let mut other = authority.welcome("nve2").await;
    let key = Some(v1::Key { sir_prefix: SIR, identifier: TASK });
    let began = Instant::now();
    let (storm, answers) = (2_000, &mut (0, 0));
    let up = hostile.up.clone();
    let sends = tokio::spawn(async move {
        for n in 0..storm {
            let locators = vec![v1::Locator { prefix: locator(1), priority: 0, weight: 1 + n % 1_000 }];
            let register = v1::Register { id: n.into(), key, locators, known_sequence: 0, mac: 0 };
            up.send(v1::Up { message: Some(up::Message::Register(register)) }).await.unwrap();
        }
    });
    let mut revision = 0;
    for n in 0..storm {
        match hostile.next().await.unwrap().unwrap() {
            down::Message::Registered(registered) => {
                answers.0 += 1;
                revision = registered.revision;
            }
            down::Message::Refused(refused) if refused.temporary && refused.why.contains("too often") => {
                answers.1 += 1;
            }
            answer => panic!("{answer:?}"),
        }
        if n % 500 == 0 {
            let asked = Instant::now();
            assert!(matches!(
                other.register(TASK + 7 + u64::from(n), locator(2)).await,
                down::Message::Registered(_)
            ));
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        }
    }
    sends.await.unwrap();
    let most = 23 + 2 * began.elapsed().as_secs();
    assert!(answers.0 <= most && answers.0 + answers.1 == u64::from(storm), "{answers:?} of {most}");
    // Nobody is told of more transactions than there were changes.
    assert!(revision <= answers.0 + 4, "{revision}");
    // What it has now is registered at once again, and after a moment anything else.
    let end = Instant::now() + TIMEOUT;
    while !matches!(hostile.register(TASK, locator(1)).await, down::Message::Registered(_)) {
        assert!(Instant::now() < end, "its last state never comes through");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
