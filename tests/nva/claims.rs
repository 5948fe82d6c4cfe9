//! What a hostile NVE says of MAC addresses and networks.

use super::*;

/// Identifier of the tenant of VNID 100 with the address 10.0.0.N.
const fn tenant(n: u64) -> u64 {
    2 << 61 | 100 << 32 | 0x0a00_0000 | n
}

impl Session {
    async fn bind(&mut self, identifier: u64, locator: u64, mac: u64) -> down::Message {
        let key = Some(v1::Key { sir_prefix: SIR, identifier });
        let locators = vec![v1::Locator { prefix: locator, priority: 0, weight: 1 }];
        let register = v1::Register { id: 7, key, locators, known_sequence: 0, mac };
        self.say(up::Message::Register(register)).await;
        self.next().await.unwrap().unwrap()
    }

    async fn find(&mut self, vnid: u32, mac: u64) -> v1::FoundMacs {
        self.say(up::Message::FindMacs(v1::FindMacs { id: 3, sir_prefix: SIR, vnid, macs: vec![mac] })).await;
        match self.next().await.unwrap().unwrap() {
            down::Message::FoundMacs(found) => found,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_an_nve_lies_about_mac_addresses_and_networks_hurts_no_other_ones_tenants() {
    const VICTIM: u64 = 0x0200_0000_0005;
    let mut authority = Authority::start();
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.bind(tenant(5), locator(1), VICTIM).await, down::Message::Registered(_)));
    let mut liar = authority.welcome("nve2").await;
    // It asks about a network of which it has nobody.
    let told = liar.find(100, VICTIM).await;
    assert!(told.found.is_empty() && told.why.contains("nve2 has no tenants of VNID 100"), "{told:?}");
    // It has somebody there, and gives it the other one's MAC address: who asks is told what the first one has.
    assert!(matches!(liar.bind(tenant(6), locator(2), VICTIM).await, down::Message::Registered(_)));
    let found = vec![v1::FoundMac { mac: VICTIM, identifiers: vec![tenant(5)] }];
    assert_eq!(own.find(100, VICTIM).await.found, found);
    assert_eq!(liar.find(100, VICTIM).await.found, found);
    // The other one's address under another MAC address is the other one's still.
    match liar.bind(tenant(5), locator(2), 0x0200_0000_0006).await {
        down::Message::Refused(refused) => assert_eq!(refused.owner, "nve1"),
        answer => panic!("{answer:?}"),
    }
    // A gateway that nobody else has changes nothing of the one that others have.
    for (session, gateway_mac) in [(&own, 0x0200_5e00_0001), (&liar, 0x0200_5e00_0099)] {
        let network = v1::AttachedNetwork {
            number: Some(v1::NetworkNumber { sir_prefix: SIR, vnid: 100 }),
            name: "red".to_owned(),
            gateway_mac,
            subnets: Vec::new(),
        };
        let report = v1::AttachedNetworks { whole: true, networks: vec![network], detached: Vec::new() };
        session.say(up::Message::AttachedNetworks(report)).await;
        let end = Instant::now() + TIMEOUT;
        let has_come = || {
            authority
                .ilactl("operator-alice", &["networks"])
                .1
                .contains(&format!("02:00:5e:00:00:{:02x}", gateway_mac & 0xff))
        };
        while !has_come() {
            assert!(Instant::now() < end, "{}", authority.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (_, networks) = authority.ilactl("operator-alice", &["networks"]);
    let of = |nve: &str| networks.lines().find(|line| line.contains(nve)).unwrap().to_owned();
    assert!(!of("nve1").contains("should be"), "{networks}");
    assert!(of("nve2").contains("02:00:5e:00:00:99 (should be 02:00:5e:00:00:01)"), "{networks}");
    assert!(authority.said("a MAC address is registered by two NVEs in one network"));
    let (_, records) = authority.ilactl("operator-alice", &["records", "--mac", "02:00:00:00:00:05"]);
    assert_eq!(records.lines().filter(|line| line.contains("02:00:00:00:00:05")).count(), 2, "{records}");
    assert!(authority.is_well());
}

#[tokio::test]
async fn messages_about_mac_addresses_that_break_the_protocol_end_their_session_and_no_other() {
    let authority = Authority::start();
    let find = |macs| up::Message::FindMacs(v1::FindMacs { id: 1, sir_prefix: SIR, vnid: 100, macs });
    let network = v1::AttachedNetwork {
        number: Some(v1::NetworkNumber { sir_prefix: SIR, vnid: 1 }),
        name: "n".to_owned(),
        gateway_mac: 1,
        subnets: Vec::new(),
    };
    let report = |networks| {
        up::Message::AttachedNetworks(v1::AttachedNetworks { whole: true, networks, detached: Vec::new() })
    };
    for (message, why) in [
        (find(Vec::new()), "FindMacs: 0 MAC addresses; name 1 to 64"),
        (find(vec![1 << 48]), "1000000000000 is no MAC address"),
        (report(vec![network.clone(); 513]), "513 networks and 0 detached; at most 512 and 4096"),
        (
            report(vec![v1::AttachedNetwork { number: None, ..network.clone() }]),
            "a network without its number",
        ),
        (report(vec![v1::AttachedNetwork { name: "n".repeat(65), ..network }]), "a name of 65 bytes"),
    ] {
        let session = authority.welcome("nve1").await;
        session.say(message).await;
        let told = session.end().await;
        assert!(told.contains(why), "{told}");
    }
}
