//! The HTTP endpoint: what it serves, whom it cuts, and what the two probes say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use ilagate::node::stats::{Census, PortCensus, PortFacts, Stats};
use ilagate::telemetry::http::{self, Limits};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A node whose links are up, with workers on these cores that never polled.
fn stats(cores: &[u16]) -> Stats {
    let port = |name: &str, role| PortFacts { name: name.into(), device: format!("net_null,{name}"), role };
    let ports = vec![port("fabric0", "fabric"), port("ext0", "external"), port("access0", "access")];
    let stats = Stats::new("nve1".into(), ports, cores, 0);
    links(&stats, [true, true, true]);
    stats
}

fn links(stats: &Stats, up: [bool; 3]) {
    let problem = |up| if up { "" } else { "its interface is gone" }.to_owned();
    let ports = up.map(|up| PortCensus { up, problem: problem(up), ..PortCensus::default() });
    stats.set_census(Census { revision: 12, ports: ports.into(), ..Census::default() });
}

/// The real server on a free port.
fn serve(stats: impl Into<Arc<Stats>>) -> SocketAddr {
    serve_within(Limits::default(), stats)
}

fn serve_within(limits: Limits, stats: impl Into<Arc<Stats>>) -> SocketAddr {
    let stats = stats.into();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = http::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let error = http::listen(address).await.unwrap_err().to_string();
            assert!(error.contains(&address.to_string()) && error.contains("choose another"), "{error}");
            send.send(address).unwrap();
            http::serve(listener, stats, limits, std::future::pending()).await;
        });
    });
    receive.recv().unwrap()
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A server that resets the connection after its answer is within its rights.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn served_over_http() {
    let address = serve(stats(&[1]));
    let answer = get(address, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(answer.contains("ilagate_mapping_revision 12\n"));
    let answer = get(address, "/");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("/metrics"), "{answer}");
    let answer = ask(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    let answer = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    // Nonsense and headers without end.
    let answer = ask(address, "\0\0\0\0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = ask(address, &format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(get(address, "/metrics").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_probe_is_served_however_many_connections_do_nothing() {
    let stats = Arc::new(stats(&[]));
    let address = serve(stats.clone());
    // More than there are places, some of them in the middle of a request.
    let idle: Vec<TcpStream> = (0..100)
        .map(|n| {
            let mut stream = TcpStream::connect(address).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            }
            stream
        })
        .collect();
    // Fewer than the places of one client: the others are still open and must not matter.
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(get(address, path).starts_with("HTTP/1.1 200"), "{path}");
    }
    drop(idle);
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn who_says_nothing_is_cut_when_its_time_is_over() {
    for limits in [Limits { headers: SHORT, connection: LONG }, Limits { headers: LONG, connection: SHORT }] {
        let address = serve_within(limits, stats(&[]));
        // Less than a request; the answer ends because the server ends it.
        for beginning in ["", "GET /metrics HTTP/1.1\r\n"] {
            let answer = ask(address, beginning);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    }
    let limits = Limits::default();
    assert!(limits.headers <= Duration::from_secs(10) && limits.connection <= Duration::from_secs(15));
}

#[test]
fn who_reads_slowly_is_cut_when_its_time_is_over() {
    let stats = stats(&[]);
    let mut census = (*stats.census()).clone();
    // An answer that no socket buffer holds.
    census.ports[0].xstats = (0..20_000).map(|n| (format!("counter_{n}_{}", "x".repeat(1000)), n)).collect();
    stats.set_census(census);
    let stats = Arc::new(stats);
    let address = serve_within(Limits { headers: LONG, connection: Duration::from_secs(2) }, stats.clone());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut begun = [0; 64];
    stream.read_exact(&mut begun).unwrap();
    // The server has let go of it when nobody else holds the numbers for its answer.
    while Arc::strong_count(&stats) > 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 20_000_000, "{} bytes came", rest.len());
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn who_does_not_forward_yet_is_alive_and_not_ready() {
    let address = serve(stats(&[1]));
    let answer = get(address, "/readyz");
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("starting: worker 0 has not polled yet"),
        "{answer}"
    );
    let answer = get(address, "/healthz");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    // One polls, and the other does not yet.
    let half = Arc::new(stats(&[1, 2]));
    polling(&half, 1);
    let answer = get(serve(half), "/readyz");
    assert!(answer.ends_with("\r\n\r\nstarting: worker 1 has not polled yet\n"), "{answer}");
}

/// The first `workers` poll from now on, for as long as anybody looks.
fn polling(stats: &Arc<Stats>, workers: usize) {
    let stats = Arc::downgrade(stats);
    std::thread::spawn(move || {
        while let Some(stats) = stats.upgrade() {
            stats.workers.iter().take(workers).for_each(|worker| worker.polls.empty_polls.add(1));
            drop(stats);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_worker_that_polls_no_more_is_dead_and_not_ready() {
    let stats = stats(&[1]);
    stats.workers[0].polls.bursts.add(7);
    let address = serve(stats);
    for path in ["/healthz", "/readyz"] {
        let answer = get(address, path);
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("worker 0 has not polled"), "{answer}");
    }
}

#[test]
fn a_control_thread_that_hangs_is_told_first_by_readiness_and_then_by_health() {
    for (silent_s, alive, ready) in [(1, true, true), (15, true, false), (100, false, false)] {
        let mut stats = stats(&[1]);
        stats.started = Instant::now().checked_sub(Duration::from_secs(1000 + silent_s)).unwrap();
        stats.control.beat(1_000_000);
        let stats = Arc::new(stats);
        polling(&stats, 1);
        let address = serve(stats);
        for (path, well) in [("/healthz", alive), ("/readyz", ready)] {
            let answer = get(address, path);
            let status = if well { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
            assert!(answer.starts_with(status), "{silent_s} s: {path}: {answer}");
            assert_eq!(answer.contains("the control thread has not turned for"), !well, "{answer}");
        }
    }
}

#[test]
fn ready_is_who_has_a_way_out_and_every_reason_has_a_line() {
    for (up, ready) in [
        ([true, true, true], true),
        ([false, true, false], true),
        ([true, false, false], true),
        ([false, false, true], false),
    ] {
        let stats = Arc::new(stats(&[1]));
        links(&stats, up);
        polling(&stats, 1);
        let address = serve(stats.clone());
        let answer = get(address, "/readyz");
        assert_eq!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("forwarding\n"), ready, "{answer}");
        assert_eq!(answer.contains("no link: fabric0, ext0 down"), !ready, "{answer}");
        assert_eq!(answer.contains("\next0: its interface is gone\n"), !ready, "{answer}");
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"), "a link is no reason for a restart");
        stats.control.stop();
        let answer = get(address, "/readyz");
        assert!(answer.contains("\r\n\r\nstopping: "), "{answer}");
        assert_eq!(answer.matches('\n').count() - answer.matches("\r\n").count(), if ready { 1 } else { 4 });
    }
}

#[test]
fn without_ports_to_the_outside_links_do_not_matter() {
    let inside = PortFacts { name: "a".into(), device: "net_null0".into(), role: "access" };
    let stats = Arc::new(Stats::new("n".into(), vec![inside], &[1], 0));
    polling(&stats, 1);
    assert!(get(serve(stats), "/readyz").starts_with("HTTP/1.1 200"));
    let outside = PortFacts { name: "f".into(), device: "net_null0".into(), role: "fabric" };
    let stats = Arc::new(Stats::new("n".into(), vec![outside], &[1], 0));
    polling(&stats, 1);
    assert!(get(serve(stats), "/readyz").ends_with("starting: links are not known yet\n"));
}
