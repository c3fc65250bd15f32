//! Other programs that write firewall rules: which of them are at work here, as far as that is cheap to
//! tell. A row of a table each; a new one is a new row.
//!
//! A daemon counts when it runs in our network namespace; a boot-time script when its own file says that it
//! is switched on. Being installed is not being at work.

use std::fs;
use std::path::Path;

use super::processes::Processes;
use crate::flow::Manager;

/// How a manager shows.
enum Sign {
    /// A process of that name (comm, cut to 15 bytes by the kernel).
    Process(&'static str),
    /// A file, below the root, with such a line (blanks aside); an empty line asks for the file alone.
    File(&'static str, &'static str),
}

struct Row {
    name: &'static str,
    sign: Sign,
    habit: &'static str,
}

const ROWS: [Row; 11] = [
    Row {
        name: "ufw",
        sign: Sign::File("etc/ufw/ufw.conf", "ENABLED=yes"),
        habit: "ufw writes all its chains anew at `ufw reload`; rules outside them stay",
    },
    Row {
        name: "firewalld",
        sign: Sign::Process("firewalld"),
        habit: "firewalld has a native nft table of its own, and drops what its zones do not allow whatever iptables accepts",
    },
    Row {
        name: "docker",
        sign: Sign::Process("dockerd"),
        habit: "docker inserts its rules at the top of FORWARD and nat when it starts and when containers come",
    },
    Row {
        name: "fail2ban",
        sign: Sign::Process("fail2ban-server"),
        habit: "fail2ban adds and removes bans in chains called f2b-*",
    },
    Row {
        name: "kube-proxy",
        sign: Sign::Process("kube-proxy"),
        habit: "kube-proxy writes its KUBE-* chains anew at every change of a service",
    },
    Row {
        name: "calico",
        sign: Sign::Process("calico-node"),
        habit: "calico keeps its cali-* chains and puts them back when somebody changes them",
    },
    Row {
        name: "libvirt",
        sign: Sign::Process("libvirtd"),
        habit: "libvirt inserts the rules of its networks when they start",
    },
    Row {
        name: "libvirt",
        sign: Sign::Process("virtnetworkd"),
        habit: "libvirt inserts the rules of its networks when they start",
    },
    Row {
        name: "crowdsec",
        sign: Sign::Process("crowdsec-firewa"),
        habit: "crowdsec's bouncer drops the addresses of its set",
    },
    Row {
        name: "nftables.service",
        sign: Sign::File(
            "etc/systemd/system/sysinit.target.wants/nftables.service",
            "",
        ),
        habit: "nftables.service flushes everything, iptables-nft included, when it is restarted",
    },
    Row {
        name: "netfilter-persistent",
        sign: Sign::File(
            "etc/systemd/system/multi-user.target.wants/netfilter-persistent.service",
            "",
        ),
        habit: "netfilter-persistent loads /etc/iptables/rules.v4 and rules.v6 at boot",
    },
];

/// Those at work, of the daemons those in our network namespace. `root` is `/`.
pub fn managers(processes: &Processes, root: &Path) -> Vec<Manager> {
    let mut found: Vec<Manager> = Vec::new();
    for row in &ROWS {
        let seen = match row.sign {
            Sign::Process(name) => running(processes, name),
            Sign::File(path, line) => written(&root.join(path), line),
        };
        if let Some(seen) = seen
            && found.iter().all(|known| known.name != row.name)
        {
            found.push(Manager {
                name: row.name,
                seen,
                habit: row.habit,
            });
        }
    }
    found
}

fn running(processes: &Processes, name: &str) -> Option<String> {
    let mut named = processes.iter().filter(|seen| seen.process.name == name);
    let ours = |pid: u32| processes.shares_our_network(pid) != Some(false);
    let seen = named.find(|seen| ours(seen.process.pid))?;
    Some(format!("process {}", seen.process.pid))
}

fn written(path: &Path, line: &str) -> Option<String> {
    if line.is_empty() {
        fs::symlink_metadata(path).ok()?;
        return Some(format!("{} is there", path.display()));
    }
    let text = fs::read_to_string(path).ok()?;
    let has = text
        .lines()
        .any(|found| found.trim().eq_ignore_ascii_case(line));
    has.then(|| format!("{} says {line}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_is_switched_off_is_not_at_work() {
        let root = tempfile::tempdir().unwrap();
        let conf = root.path().join("etc/ufw");
        fs::create_dir_all(&conf).unwrap();
        let look = |text: &str| {
            fs::write(conf.join("ufw.conf"), text).unwrap();
            managers(&Processes::default(), root.path())
        };
        assert_eq!(look("# ENABLED=yes\nENABLED=no\n"), []);
        let found = look("LOGLEVEL=low\nENABLED=yes\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "ufw");
        assert!(found[0].seen.ends_with("says ENABLED=yes"), "{found:?}");
    }
}
