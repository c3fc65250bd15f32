//! The machine that the sandbox was started on is as it was.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::trial::{Trial, User};

#[test]
fn the_machine_is_as_it_was() {
    let before = Machine::look();
    for backend in ["nft", "legacy"] {
        let mut trial = Trial::start("docker-beside-ufw", backend, User::Me);
        assert_eq!(trial.order("fix")["status"], 0);
        trial.run("touch /run/a-file /etc/a-file");
        assert_eq!(Machine::look(), before, "while it runs");
        for path in ["/run/a-file", "/etc/a-file"] {
            assert!(
                !Path::new(path).exists(),
                "{path} was written on the machine"
            );
        }
        assert!(trial.finish().success());
    }
    assert_eq!(Machine::look(), before, "after it");
}

#[test]
fn what_the_box_shows_is_its_own() {
    let mut trial = Trial::start("wrong-interface", "nft", User::Me);
    let interfaces = trial.run("ls /sys/class/net");
    assert_eq!(
        interfaces.split_whitespace().collect::<Vec<_>>(),
        ["eth0", "eth1", "lo"]
    );
    assert!(trial.run("cat /proc/net/dev").contains("eth1:"));
    assert_eq!(trial.run("hostname").trim(), "sandbox");
    // Root in it, whoever we are outside.
    assert_eq!(trial.run("id -u").trim(), "0");
}

/// Rules of both back ends and families, sysctls, links, addresses, mounts, host name.
#[derive(Debug, PartialEq)]
struct Machine {
    said: Vec<(String, String)>,
    sysctls: Vec<(String, String)>,
    mounts: String,
}

impl Machine {
    fn look() -> Self {
        let commands = [
            "iptables-nft-save",
            "ip6tables-nft-save",
            "iptables-legacy-save",
            "ip6tables-legacy-save",
            "ip -brief link",
            "ip -brief address",
            "ip route show table all",
            "ip -6 route show table all",
            "hostname",
        ];
        let mut sysctls = Vec::new();
        for folder in ["net/ipv4", "net/ipv6/conf/all", "net/netfilter"] {
            read_numbers(&Path::new("/proc/sys").join(folder), &mut sysctls);
        }
        assert!(sysctls.iter().any(|(name, _)| name.ends_with("ip_forward")));
        sysctls.sort();
        Self {
            said: commands
                .map(|command| (command.to_owned(), say(command)))
                .into(),
            sysctls,
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
        }
    }
}

/// What it prints, less comments, which hold the time. As an ordinary user some print an error: as good.
fn say(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

fn read_numbers(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.path().display().to_string();
        if name.ends_with("nf_conntrack_count") {
            continue;
        }
        if let Ok(value) = fs::read_to_string(entry.path()) {
            into.push((name, value));
        }
    }
}
