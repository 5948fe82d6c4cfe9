use super::provision::{FILE, attachment, network, objects};
use super::*;
use std::time::Instant;

#[test]
fn timing() {
    let mut entries: Vec<crate::config::Entry> = (1..=64).map(|n| network(&format!("n{n}"), n, "")).collect();
    for n in 0..16_000u32 {
        let (net, host) = (n / 250 + 1, n % 250 + 2);
        entries.push(attachment(
            &format!("vm{n}"),
            (n % 4000 + 1) as u16,
            &format!("n{net}"),
            &format!("10.{net}.0.{host}"),
        ));
    }
    let text = |n: usize| format!("02:00:00:00:{:02x}:{:02x}", n >> 8, n & 255);
    let _ = text;
    let mut bench = Bench::with(FILE);
    for round in 0..4u64 {
        let wanted = objects(round + 1, &entries[..entries.len() - (round % 2) as usize]);
        let began = Instant::now();
        bench.request(Request::Provision(wanted));
        println!("request turn {:?}", began.elapsed());
        let began = Instant::now();
        let loaded = bench.load();
        println!("load (other thread) {:?}", began.elapsed());
        let began = Instant::now();
        bench.input(0, loaded);
        println!("loaded turn {:?}", began.elapsed());
        while bench.control.progress() != Progress::Idle {
            let began = Instant::now();
            bench.input(0, Input::Update);
            println!("update turn {:?}", began.elapsed());
            let _ = bench.reader.snapshot();
        }
        println!("said {:?}", bench.provisioned.last().map(|(k, r)| (k.revision, r.len())));
    }
}
