//! What cannot be had is said in two lines: what failed, what to do.

use std::fs;
use std::io::Read as _;
use std::process::ExitStatus;

use super::trial::{User, marked, spawn, wait_until};

const GOOD: &str = include_str!("../../assets/scenarios/drop-before-accept.toml");

#[test]
fn an_unknown_scenario_names_the_known_ones() {
    let (status, said) = refused("no-such-scenario");
    assert_eq!(status.code(), Some(2));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("no-such-scenario") && said.contains("busy-box"),
        "{said}"
    );
}

#[test]
fn a_rule_that_the_kernel_refuses_is_said_in_its_words() {
    let text = GOOD.replace("-m limit --limit 25/sec", "-m nosuchmatch --limit 25/sec");
    let (_, said) = refused_text(&text);
    assert!(
        said.contains("firewall") && said.contains("nosuchmatch"),
        "{said}"
    );
    assert!(said.contains("--backend"), "{said}");
}

#[test]
fn an_address_that_ip_refuses_is_said_in_its_words() {
    let text = GOOD.replace("name = \"eth0\"", "name = \"lo\"");
    let (_, said) = refused_text(&text);
    assert!(said.contains("network") && said.contains("ip:"), "{said}");
}

#[test]
fn a_file_that_is_not_a_scenario_is_refused_before_anything_is_made() {
    let (_, said) = refused_text("title = 7\n");
    assert!(said.contains("mine: line 1"), "{said}");
    let sysctl = "[sysctls]\n\"net.netfilter.nf_conntrack_max\" = \"9\"\n\n[firewall]";
    let (_, said) = refused_text(&GOOD.replace("[firewall]", sysctl));
    assert!(said.contains("nf_conntrack_max is not one"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

fn refused_text(text: &str) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, text).unwrap();
    refused(file.to_str().unwrap())
}

/// Start a trial that must fail, and leave nothing.
fn refused(scenario: &str) -> (ExitStatus, String) {
    let mark = format!("refused-{}-{scenario}", std::process::id());
    let mut trial = spawn(scenario, "nft", User::Me, &mark);
    let status = trial.wait().unwrap();
    let mut said = String::new();
    trial
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(!status.success());
    wait_until("the helpers to go", || {
        marked(&mark).is_empty().then_some(())
    });
    (status, said)
}
