//! A change from a command, and the session of the one who gives it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

use ruletop::ruleset::Family;

use crate::bench::{Bench, on_every};

/// A connection on loopback that stands, with what sshd tells a shell of such a one.
fn connection(bench: &Bench<'_>) -> ([TcpStream; 2], String, u16) {
    let address: IpAddr = match bench.origin.family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let server = TcpListener::bind((address, 0)).unwrap();
    let here = server.local_addr().unwrap();
    let client = TcpStream::connect(here).unwrap();
    let (ours, peer) = server.accept().unwrap();
    let told = format!(
        "{} {} {} {}",
        peer.ip(),
        peer.port(),
        here.ip(),
        here.port()
    );
    ([client, ours], told, here.port())
}

fn script(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_change_that_would_cut_its_own_session_takes_a_typed_word() {
    on_every(|bench| {
        let before = bench.save();
        let (_streams, told, port) = connection(bench);
        let rule = format!("-p tcp -m tcp --dport {port} -j DROP");
        let script = script(&format!("*filter\n-I INPUT 1 {rule}\nCOMMIT\n"));
        let path = script.path().display().to_string();
        let warning =
            format!("your connection, incoming would be cut: filter INPUT rule 1: {rule}");

        // Nobody to ask: the warning, and the deadline.
        let output = bench
            .apply_command(&path, "60s")
            .arg("--no-wait")
            .env("SSH_CONNECTION", &told)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("WARNING") && said.contains(&warning),
            "{said}"
        );
        bench.ok(&["revert"]);
        bench.settle();

        // On a terminal another word is a no, and nothing is applied.
        let mut terminal = bench.apply_from(&path, &told);
        terminal.wait_for_text("Type the word risk to go on");
        terminal.send("y\r");
        assert_eq!(terminal.wait_for_exit().exit_code(), 4);
        terminal.wait_for_text("not applied");
        bench.assert_same(&before);

        let mut terminal = bench.apply_from(&path, &told);
        terminal.wait_for_text("Type the word risk to go on");
        terminal.send("risk\r");
        terminal.wait_for_text("Type yes to keep");
        terminal.send("no\r");
        assert_eq!(terminal.wait_for_exit().exit_code(), 4);
        terminal.wait_for_no_process();
        bench.assert_same(&before);
    });
}

#[test]
fn a_session_that_survives_is_not_spoken_of() {
    on_every(|bench| {
        let (_streams, told, port) = connection(bench);
        let rule = format!("-p tcp -m tcp --dport {port} -j ACCEPT");
        let script = script(&format!("*filter\n-I INPUT 1 {rule}\nCOMMIT\n"));
        let mut command = bench.apply_command(&script.path().display().to_string(), "60s");
        command.arg("--no-wait").env("SSH_CONNECTION", told);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && !said.contains("WARNING"),
            "{said}"
        );
        bench.ok(&["revert"]);
        bench.settle();
    });
}
