//! Certificates as they are made, shown and judged.

use super::client;
use super::files::Stamp;
use super::pki::{issue, make_authority};
use super::revoked::Revoked;
use super::server::{ServerFiles, Trust, chain_of};
use super::{Identity, Role, TlsError};
use crate::config::TlsFiles;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConnection, ServerConnection};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn files(directory: &Path, name: &str) -> TlsFiles {
    TlsFiles {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
        authorities: directory.join("ca.pem"),
    }
}

fn server(directory: &Path, name: &str) -> ServerFiles {
    ServerFiles { tls: files(directory, name), revoked: None }
}

/// A lab with a certificate authority, an authority and an NVE.
fn lab(domain: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    make_authority(directory.path(), domain, 10).unwrap();
    for name in ["nva/nva1", "nve/nve1", "operator/alice"] {
        issue(directory.path(), &identity(&format!("ilagate://{domain}/{name}")), 5).unwrap();
    }
    directory
}

/// A handshake in memory: what each side says of it.
fn handshake(
    client: &TlsFiles,
    server: &ServerFiles,
) -> (Result<(), String>, Result<Result<Identity, TlsError>, String>) {
    let (config, _) = client::config(client).unwrap();
    let trust = Trust::read(server).unwrap();
    let name = ServerName::try_from("192.0.2.1").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut server = ServerConnection::new(trust.config()).unwrap();
    let (mut client_says, mut server_says) = (Ok(()), Ok(()));
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = io::Cursor::new(wire);
        while server.read_tls(&mut wire).unwrap() > 0 {
            server_says = server_says.and(server.process_new_packets().map(|_| ()));
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = io::Cursor::new(wire);
        while client.read_tls(&mut wire).unwrap() > 0 {
            client_says = client_says.and(client.process_new_packets().map(|_| ()));
        }
    }
    let judged = match server_says {
        Ok(()) => Ok(trust.judge(&chain_of(&server))),
        Err(why) => Err(why.to_string()),
    };
    (client_says.map_err(|why| why.to_string()), judged)
}

#[test]
fn an_identity_is_a_domain_a_role_and_a_name_and_nothing_else() {
    let known = identity("ilagate://lab.example/nve/host-17");
    assert_eq!((known.domain(), known.role(), known.name()), ("lab.example", Role::Nve, "host-17"));
    assert_eq!(known.to_string(), "ilagate://lab.example/nve/host-17");
    let long = format!("ilagate://lab/nve/{}", "x".repeat(65));
    for wrong in [
        "",
        "nve1",
        "ilagate://lab/nve",
        "ilagate://lab/nve/",
        "ilagate:///nve/a",
        "ilagate://lab/root/a",
        "ilagate://lab/NVE/a",
        "ilagate://lab/nve/a/b",
        "ilagate://lab/nve/a b",
        "ilagate://lab/nve/a\0",
        "ilagate://lab/nve/ä",
        "spiffe://lab/nve/a",
        "ILAGATE://lab/nve/a",
        &long,
    ] {
        assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
    }
}

#[test]
fn both_sides_know_one_another_by_their_certificates() {
    let lab = lab("lab");
    let (client, server) = handshake(&files(lab.path(), "nve-nve1"), &server(lab.path(), "nva-nva1"));
    client.unwrap();
    assert_eq!(server.unwrap().unwrap(), identity("ilagate://lab/nve/nve1"));
}

#[test]
fn a_certificate_of_another_certificate_authority_opens_nothing() {
    let (here, there) = (lab("lab"), lab("lab"));
    let stranger = TlsFiles { authorities: here.path().join("ca.pem"), ..files(there.path(), "nve-nve1") };
    let (_, judged) = handshake(&stranger, &server(here.path(), "nva-nva1"));
    // Both certificate authorities have the same name, and not the same key.
    assert!(judged.unwrap_err().contains("BadSignature"));
    // Nor does the stranger's authority deceive an NVE.
    let (client, _) = handshake(&files(here.path(), "nve-nve1"), &server(there.path(), "nva-nva1"));
    assert!(client.unwrap_err().contains("BadSignature"));
}

#[test]
fn an_nve_believes_authorities_of_its_domain_only() {
    let lab = lab("lab");
    // One certificate authority for two domains, as a company may have.
    let issued = |name: &str| {
        let other = tempfile::tempdir().unwrap();
        make_authority(other.path(), "other", 10).unwrap();
        issue(other.path(), &identity(name), 5).unwrap();
        other
    };
    let other = issued("ilagate://other/nva/nva1");
    let both = lab.path().join("both.pem");
    let pem = |directory: &Path| std::fs::read_to_string(directory.join("ca.pem")).unwrap();
    std::fs::write(&both, pem(lab.path()) + &pem(other.path())).unwrap();
    let client = TlsFiles { authorities: both.clone(), ..files(lab.path(), "nve-nve1") };
    let mut theirs = server(other.path(), "nva-nva1");
    theirs.tls.authorities = both.clone();
    let (says, _) = handshake(&client, &theirs);
    assert!(says.unwrap_err().contains("ilagate://other/nva/nva1 is no authority of the domain lab"));
    // And an authority believes NVEs of its domain only.
    issue(other.path(), &identity("ilagate://other/nve/nve1"), 5).unwrap();
    let mut own = server(lab.path(), "nva-nva1");
    own.tls.authorities = both;
    let chain = CertificateDer::from_pem_file(other.path().join("nve-nve1.pem")).unwrap();
    let why = Trust::read(&own).unwrap().judge(&[chain]).unwrap_err().to_string();
    assert!(why.contains("ilagate://other/nve/nve1 is not of the domain lab"), "{why}");
}

#[test]
fn an_nve_is_no_authority_and_an_authority_no_nve() {
    let lab = lab("lab");
    let why = Trust::read(&server(lab.path(), "nve-nve1")).unwrap_err().to_string();
    assert!(why.contains("ilagate://lab/nve/nve1 is no authority"), "{why}");
}

#[test]
fn an_expired_certificate_is_refused_by_both_sides_and_a_live_session_sees_it() {
    let lab = lab("lab");
    // As certificates are when their days are over.
    let expired = |name: &str| {
        super::pki::issue_until(
            lab.path(),
            &identity(name),
            time::OffsetDateTime::now_utc() - time::Duration::seconds(2),
        )
        .unwrap()
    };
    expired("ilagate://lab/nve/late");
    let (_, judged) = handshake(&files(lab.path(), "nve-late"), &server(lab.path(), "nva-nva1"));
    assert!(judged.unwrap_err().contains("xpired"));
    let trust = Trust::read(&server(lab.path(), "nva-nva1")).unwrap();
    let chain = CertificateDer::from_pem_file(lab.path().join("nve-late.pem")).unwrap();
    assert!(trust.judge(&[chain]).unwrap_err().to_string().contains("xpired"));
    expired("ilagate://lab/nva/late");
    let (client, _) = handshake(&files(lab.path(), "nve-nve1"), &server(lab.path(), "nva-late"));
    assert!(client.unwrap_err().contains("xpired"));
}

#[test]
fn a_revoked_name_or_serial_is_refused_from_the_next_look_on() {
    let lab = lab("lab");
    let other = issue(lab.path(), &identity("ilagate://lab/nve/nve2"), 5).unwrap();
    let list = lab.path().join("revoked");
    let files = ServerFiles { revoked: Some(list.clone()), ..server(lab.path(), "nva-nva1") };
    let judge = |name: &str| {
        let chain = CertificateDer::from_pem_file(lab.path().join(format!("nve-{name}.pem"))).unwrap();
        Trust::read(&files).unwrap().judge(&[chain])
    };
    std::fs::write(&list, "# nobody yet\n").unwrap();
    assert!(judge("nve1").is_ok() && judge("nve2").is_ok());
    std::fs::write(&list, "identity ilagate://lab/nve/nve1   # gone\n").unwrap();
    assert!(judge("nve1").unwrap_err().to_string().contains("revoked") && judge("nve2").is_ok());
    let colons: Vec<&str> = (0..other.serial.len() / 2).map(|n| &other.serial[2 * n..2 * n + 2]).collect();
    for serial in
        [other.serial.clone(), other.serial.to_uppercase(), colons.join(":"), format!("00{}", other.serial)]
    {
        std::fs::write(&list, format!("serial {serial}\n")).unwrap();
        assert!(judge("nve1").is_ok() && judge("nve2").is_err(), "{serial}");
    }
}

#[test]
fn a_list_of_revocations_with_a_wrong_line_is_refused_as_a_whole() {
    for wrong in [
        "nve1",
        "identity nve1",
        "serial xyz",
        "serial",
        "serial 0",
        "identity ilagate://a/nve/b c",
        "serial 0123456789012345678901234567890123456789ff",
    ] {
        let why = Revoked::parse(&format!("# a\n{wrong}\n"), "revoked").unwrap_err().to_string();
        assert!(why.starts_with("revoked:2: "), "{why}");
    }
}

#[test]
fn files_that_cannot_be_used_are_told_with_their_name() {
    let lab = lab("lab");
    let good = files(lab.path(), "nva-nva1");
    let why =
        |files: TlsFiles| Trust::read(&ServerFiles { tls: files, revoked: None }).unwrap_err().to_string();
    let missing = lab.path().join("missing.pem");
    assert!(why(TlsFiles { certificate: missing.clone(), ..good.clone() }).contains("missing.pem"));
    let other_key = TlsFiles { key: lab.path().join("nve-nve1.key"), ..good.clone() };
    assert!(why(other_key).contains("nve-nve1.key: not the key of the certificate"));
    let swapped = TlsFiles { key: good.certificate.clone(), ..good.clone() };
    std::fs::set_permissions(&good.certificate, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(why(swapped).contains("nva-nva1.pem: no private key in PEM"));
    assert!(
        why(TlsFiles { authorities: good.key.clone(), ..good.clone() })
            .contains("nva-nva1.key: no certificate")
    );
    let garbage = lab.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(
        why(TlsFiles { certificate: garbage, ..good.clone() })
            .contains("garbage.pem: the certificate cannot be read")
    );
    std::fs::set_permissions(&good.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(why(good).contains("nva-nva1.key: everybody may read this key"));
}

#[test]
fn a_changed_file_is_seen() {
    let lab = lab("lab");
    let files = server(lab.path(), "nva-nva1");
    let before: Stamp = files.stamp();
    assert_eq!(files.stamp(), before);
    issue(lab.path(), &identity("ilagate://lab/nva/nva2"), 5).unwrap();
    std::fs::rename(lab.path().join("nva-nva2.pem"), &files.tls.certificate).unwrap();
    assert_ne!(files.stamp(), before);
}

#[test]
fn nothing_that_is_there_is_overwritten_and_keys_are_their_owners() {
    let lab = lab("lab");
    assert!(make_authority(lab.path(), "lab", 1).unwrap_err().to_string().contains("ca.key"));
    let again = issue(lab.path(), &identity("ilagate://lab/nve/nve1"), 1).unwrap_err().to_string();
    assert!(again.contains("nve-nve1.key"), "{again}");
    let other = issue(lab.path(), &identity("ilagate://other/nve/nve9"), 1).unwrap_err().to_string();
    assert!(other.contains("is of the domain lab"), "{other}");
    let mode = std::fs::metadata(lab.path().join("nve-nve1.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
