//! What operators see and do by their roles.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_do_what_their_role_allows() {
    let authority = Authority::start();
    let mut own = authority.welcome("nve1").await;
    assert!(matches!(own.register(TASK, locator(1)).await, down::Message::Registered(_)));
    let ilactl = |who: &str, words: &[&str]| authority.ilactl(who, words);
    let sir = "2001:db8:dddd:0:2000::1";
    // A viewer sees.
    let (seen, text) = ilactl("operator-victor", &["status"]);
    assert!(seen && text.contains("identifiers  1 (0 released)\nsessions     1 of 2 NVEs"), "{text}");
    let (seen, text) = ilactl("operator-victor", &["nves"]);
    assert!(seen && text.contains("nve1  nva1"), "{text}");
    let (seen, text) = ilactl("operator-victor", &["records", "--nve", "nve1", "--locator", "fd00:1::/64"]);
    assert!(seen && text.contains(&format!("{sir}  nve1          1  -    fd00:1::/64")), "{text}");
    for none in [&["--nve", "nve2"][..], &["--locator", "fd00:2::/64"], &["--sir", "2001:db8:dddd::2"]] {
        let (seen, text) = ilactl("operator-victor", &[&["--json", "records"], none].concat());
        assert!(seen && text == "[]\n", "{text}");
    }
    // And does nothing.
    for (command, role) in [(["release", sir], "operator"), (["backup", "copy.redb"], "admin")] {
        let (done, text) = ilactl("operator-victor", &command);
        assert!(!done && text.contains(&format!("is a viewer, and this is for a role of {role}")), "{text}");
    }
    let (done, text) = ilactl("operator-victor", &["policy", "add", "red", "outside"]);
    assert!(!done && text.contains("is a viewer, and this is for a role of operator"), "{text}");
    let (seen, text) = ilactl("operator-victor", &["network", "list"]);
    assert!(seen && text.starts_with("NETWORK  VNID"), "{text}");
    // An operator changes what is wanted at NVEs, and releases what nobody comes back for, and nothing else.
    let (done, text) = ilactl("operator-oscar", &["policy", "add", "red", "outside"]);
    assert!(!done && text.contains("`red` is not the name of a virtual network"), "{text}");
    let (done, text) = ilactl("operator-oscar", &["release", sir]);
    assert!(!done && text.contains("is registered by nve1, which has a session; detach it there"), "{text}");
    drop(own);
    let released = || ilactl("operator-oscar", &["release", sir]);
    let end = Instant::now() + TIMEOUT;
    let text = loop {
        match released() {
            (true, text) => break text,
            (false, text) => assert!(Instant::now() < end, "{text}"),
        }
    };
    assert_eq!(text, format!("{sir}: released, sequence 2, revision 2\n"));
    let (done, text) = released();
    assert!(!done && text.contains("is not registered"), "{text}");
    let (done, text) = ilactl("operator-oscar", &["backup", "copy.redb"]);
    assert!(!done && text.contains("this is for a role of admin"), "{text}");
    // An admin makes a backup of a running authority.
    let (done, text) = ilactl("operator-alice", &["backup", "copy.redb"]);
    assert!(done && text.contains("copy.redb: revision 2, 0 identifiers, 1 released"), "{text}");
    let (done, text) = ilactl("operator-alice", &["backup", "copy.redb"]);
    assert!(!done && text.contains("is there already"), "{text}");
    for wrong in ["../copy", "", ".hidden", "a/b", "a b"] {
        let (done, text) = ilactl("operator-alice", &["backup", wrong]);
        assert!(!done && text.contains("is no name of a file"), "{text}");
    }
    // Who is no operator, or not one of this authority, sees nothing.
    let (done, text) = ilactl("operator-nobody", &["status"]);
    assert!(!done && text.contains("is not among the operators of this authority"), "{text}");
    let (done, text) = ilactl("nve-nve1", &["status"]);
    assert!(!done && text.contains("not of an operator"), "{text}");
    let mut client = ManageClient::new(authority.connect("nve-nve1").await.unwrap());
    let refused = client.status_get(manage::StatusGetRequest {}).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("is no operator"));
    let refused = client.object_write(manage::ObjectWriteRequest::default()).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("is no operator"));
    let refused = client.object_list(manage::ObjectListRequest::default()).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("is no operator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_networks_changes_what_is_in_them_and_nothing_else() {
    let authority = Authority::start();
    let ilactl = |who: &str, words: &[&str]| authority.ilactl(who, words);
    let file = tempfile::NamedTempFile::new().unwrap();
    for (name, vnid) in [("red", 1), ("blue", 2), ("green", 3)] {
        let text = format!(
            "{{name: {name}, vnid: {vnid}, domain: tasks, ipv4: [{{prefix: 10.{vnid}.0.0/24, gateway: 10.{vnid}.0.1}}]}}"
        );
        std::fs::write(file.path(), text).unwrap();
        let add = ["network", "add", "--file", file.path().to_str().unwrap()];
        let (done, text) = ilactl("operator-rita", &add);
        assert!(!done && text.contains("an operator of some networks changes nothing of others"), "{text}");
        let (done, text) = ilactl("operator-oscar", &add);
        assert!(done, "{text}");
    }
    let attach = |who: &str, vm: &str, network: &str, address: &str| {
        let mac = format!("02:00:00:00:00:{}", &vm[2..]);
        let place = ["--port", "a", "--mac", &mac, "--network", network, "--address", address];
        ilactl(who, &[&["attachment", "add", "nve1", vm][..], &place].concat())
    };
    let (done, text) = attach("operator-rita", "vm11", "red", "auto");
    assert!(done && text.contains("10.1.0.2"), "{text}");
    let (done, text) = attach("operator-rita", "vm12", "green", "10.3.0.5");
    assert!(!done && text.contains("attachment vm12 at nve1: an operator of some networks"), "{text}");
    let (done, text) = attach("operator-oscar", "vm12", "green", "10.3.0.5");
    assert!(done, "{text}");
    for (words, may) in [
        (&["policy", "add", "red", "blue"][..], true),
        (&["policy", "add", "red", "green"], false),
        (&["policy", "add", "red", "outside"], false),
        (&["attachment", "del", "nve1", "vm12"], false),
        (&["attachment", "del", "nve1", "vm11"], true),
        (&["network", "del", "green"], false),
        (&["release", "2001:db8:dddd:0:2000::1"], false),
        (&["release", "--nve", "nve9"], false),
        (&["resume"], false),
        (&["locator", "add", "nve1", "--domain", "tasks"], false),
        (&["backup", "copy.redb"], false),
    ] {
        let (done, text) = ilactl("operator-rita", words);
        assert_eq!(done, may, "{words:?}: {text}");
    }
    // She sees them, and not what is of others.
    let (seen, text) = ilactl("operator-rita", &["network", "list"]);
    assert!(seen && text.contains("red") && text.contains("blue") && !text.contains("green"), "{text}");
}
