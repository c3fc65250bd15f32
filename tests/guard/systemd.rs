//! A session that ends takes its whole control group with it, and must not take a guard. Held against a real
//! systemd: it is booted as the first process of namespaces of its own (processes, mounts, network, control
//! groups), in which the machine's files are read-only, its units are hidden and nothing is started. Sessions are
//! scopes, as logind makes them, and are stopped as it stops them.
//!
//! It needs a control group to give away, which an ordinary user in a user namespace does not have: there these
//! tests say so and are not run. As root they run, or fail with the reason.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::patiently;

/// In a mount namespace, before the others: a control group of its own, found through a mount of its own, since
/// that of the machine may be read-only. $1: the folder to work in, $2: its name.
const OUTER: &str = r#"
set -e
mkdir -p "$1/groups"
mount -t cgroup2 cgroup2 "$1/groups"
group="$1/groups$(sed -n 's/^0:://p' /proc/self/cgroup)/$2"
mkdir "$group"
echo $$ > "$group/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --cgroup --net --uts --ipc sh -c "$3" sh
"#;

/// The first process: mounts, says so, and becomes systemd. It writes nowhere but to what is mounted here; sysctls that
/// are not of a namespace are read-only.
const INNER: &str = r#"
set -e
fresh() { mount -t tmpfs -o mode=755 tmpfs "$1"; }
mount --make-rprivate /
fresh /run
mount -t proc proc /proc
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /run/dev
for node in null zero full random urandom tty; do
    touch /run/dev/$node
    mount --bind /dev/$node /run/dev/$node
done
mkdir /run/dev/pts /run/dev/shm
ln -s /proc/self/fd /run/dev/fd
mount --rbind /run/dev /dev
for folder in /var/log /var/lib /var/backups /etc/systemd /usr/lib/systemd/system \
    /usr/lib/systemd/system-generators /usr/local/lib/systemd; do
    [ ! -d $folder ] || fresh $folder
done
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /
mkdir /etc/systemd/system
for unit in basic sysinit shutdown trial; do
    printf '[Unit]\nDescription=%s\n' $unit > /etc/systemd/system/$unit.target
done
echo mounted
systemd=/usr/lib/systemd/systemd
[ -x $systemd ] || systemd=/lib/systemd/systemd
exec env -i container=trial container_uuid=0123456789abcdef0123456789abcdef PATH="$PATH" \
    $systemd --system --unit=trial.target --log-target=console --show-status=0
"#;

/// Takes the control groups away again. $1, $2 as above.
const CLEAR: &str = r#"
mount -t cgroup2 cgroup2 "$1/groups"
group="$1/groups$(sed -n 's/^0:://p' /proc/self/cgroup)/$2"
[ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
"#;

/// Goes inside. The control group first: systemd cannot move who is outside of its own.
const ENTER: &str = r#"
[ -e /etc/systemd/system/trial.target ] || exit 1
mkdir -p /sys/fs/cgroup/outside
echo $$ > /sys/fs/cgroup/outside/cgroup.procs
exec nsenter --target=1 --uts --ipc --net --cgroup --pid env -i PATH="$PATH" LC_ALL=C sh -c "$1"
"#;

/// Functions for all that is run inside.
const WORDS: &str = r#"
rules() { iptables-nft-save | sed -e '/^[#:]/d'; }
field() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\).*/\1/p" "${2:-/run/ruletop/pending.json}"; }
group() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }
# A login of that name, until it is stopped.
login() {
    systemd-run --scope --quiet --collect --unit="$1" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
    until systemctl -q is-active "$1.scope"; do sleep 0.01; done
}
# Runs a command in it.
within() {
    at=/sys/fs/cgroup$(group "$(cat "/sys/fs/cgroup/system.slice/$1.scope/cgroup.procs" | head -n 1)")
    shift
    sh -c 'at=$1; shift; echo $$ > "$at/cgroup.procs"; exec "$@" 2>&1' sh "$at" "$@"
}
"#;

const SCRIPT: &str = "*filter\\n-A INPUT -p udp --dport 4009 -j DROP\\nCOMMIT\\n";

/// A systemd and what lives under it.
struct Machine {
    outer: Child,
    first: Pid,
    folder: tempfile::TempDir,
    name: String,
}

impl Machine {
    /// Boots one; `None`, and says so, where nobody could.
    fn boot(what: &str) -> Option<Self> {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        let ids: Vec<&str> = map.split_whitespace().collect();
        if ids != ["0", "0", "4294967295"] {
            let _ = writeln!(
                std::io::stderr(),
                "guard: systemd::{what} is not run: in a user namespace no control group is ours to boot a systemd in"
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let name = format!("ruletop-test-{}-{what}", std::process::id());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut outer = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "sh",
                "-c",
                OUTER,
            ])
            .arg("sh")
            .arg(folder.path())
            .args([&name, INNER])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pid = outer.id();
        let mut first = None;
        patiently("the first process of the namespaces", || {
            assert!(
                outer.try_wait().unwrap().is_none(),
                "no systemd could be booted; run as root with CAP_SYS_ADMIN, with systemd installed: {}",
                std::fs::read_to_string(folder.path().join("log")).unwrap()
            );
            let said = std::fs::read_to_string(folder.path().join("log")).unwrap();
            if said.contains("mounted") {
                first = child_of(pid);
            }
            first.is_some()
        });
        let machine = Self {
            outer,
            first: first.unwrap(),
            folder,
            name,
        };
        patiently("systemd to have booted", || {
            let state = machine.run("systemctl is-system-running");
            String::from_utf8_lossy(&state.stdout).trim() == "running"
        });
        machine.ok("iptables-nft -A INPUT -p udp --dport 4001 -j DROP; rules > /run/before");
        machine.ok(&format!("printf '{SCRIPT}' > /run/script"));
        Some(machine)
    }

    fn run(&self, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let program = env!("CARGO_BIN_EXE_ruletop");
        Command::new("nsenter")
            .arg(format!("--target={}", self.first))
            .args(["--mount", "sh", "-c", ENTER, "sh"])
            .arg(format!("set -e\nruletop={program}\n{WORDS}\n{script}"))
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(
            output.status.success(),
            "{script}: {output:?}\n{}",
            std::fs::read_to_string(self.folder.path().join("log")).unwrap()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// A change made in that login; what was said.
    #[track_caller]
    fn change(&self, login: &str, window: &str) -> String {
        self.ok(&format!(
            "within {login} $ruletop apply /run/script --no-wait --confirm-within {window}"
        ))
    }

    /// The control groups of the guard and its standby.
    #[track_caller]
    fn groups(&self) -> (String, String) {
        let group = |which: &str| {
            let group = self.ok(&format!("group $(field {which})"));
            group.trim().to_owned()
        };
        (group("guard"), group("standby"))
    }

    fn is_changed(&self) -> bool {
        self.ok("rules").contains("--dport 4009")
    }

    fn wait_for_no_scope(&self) {
        patiently("the guard's scope to be gone", || {
            let units = self.ok("systemctl list-units --all --plain --no-legend 'ruletop-*'");
            units.trim().is_empty()
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The first process of a namespace takes all others with it.
        let _ = kill(self.first, Signal::SIGKILL);
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        patiently("the control groups to be gone", || {
            let cleared = Command::new("unshare")
                .args(["--mount", "sh", "-c", CLEAR, "sh"])
                .arg(self.folder.path())
                .arg(&self.name)
                .stderr(Stdio::null())
                .status();
            cleared.is_ok_and(|status| status.success())
        });
    }
}

/// The first child of that process that is found.
fn child_of(parent: u32) -> Option<Pid> {
    let parent = format!("PPid:\t{parent}\n");
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        status.contains(&parent).then_some(Pid::from_raw(pid))
    })
}

#[test]
fn the_end_of_a_session_is_not_the_end_of_its_guard() {
    let Some(machine) = Machine::boot("session") else {
        return;
    };
    // Left alone it is undone.
    machine.ok("login one");
    let said = machine.change("one", "3s");
    assert!(!said.contains("systemd"), "{said}");
    let (guard, standby) = machine.groups();
    assert!(guard.contains("/ruletop-guard-"), "{guard}");
    assert_eq!(guard, standby);
    machine.ok("systemctl stop one.scope; [ ! -d /sys/fs/cgroup/system.slice/one.scope ]");
    assert!(machine.is_changed());
    patiently("the deadline", || !machine.is_changed());
    machine.wait_for_no_scope();
    machine.ok("rules | cmp - /run/before; [ ! -e /run/ruletop/pending.json ]");
    // Confirmed from another login it stays.
    machine.ok("login two; login three");
    machine.change("two", "60s");
    machine.ok("systemctl kill --signal=KILL two.scope; within three $ruletop confirm");
    machine.wait_for_no_scope();
    machine.ok("systemctl stop three.scope");
    assert!(machine.is_changed());
    machine.ok("iptables-nft -D INPUT -p udp --dport 4009 -j DROP");
}

#[test]
fn a_guard_of_another_namespace_has_a_scope_too() {
    let Some(machine) = Machine::boot("elsewhere") else {
        return;
    };
    let said = machine.ok("login one
         within one unshare --net sh -c \"$ruletop apply /run/script --no-wait\"
         for record in /run/ruletop/net-*/pending.json; do group $(field guard $record); done");
    assert!(said.contains("/ruletop-guard-"), "{said}");
    assert!(!machine.is_changed());
    // Told to stop, as when the machine goes down, a guard undoes at once.
    machine.change("one", "60s");
    assert!(machine.is_changed());
    machine.ok("systemctl stop 'ruletop-guard-*.scope'");
    assert!(!machine.is_changed());
    machine.wait_for_no_scope();
}

#[test]
fn a_systemd_out_of_order_is_in_nobodys_way() {
    let Some(machine) = Machine::boot("order") else {
        return;
    };
    let without = |login: &str, said: &str, why: &str| {
        assert!(said.contains("the guard has no scope of its own"), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(machine.is_changed());
        let (guard, standby) = machine.groups();
        assert!(guard.ends_with(&format!("/{login}.scope")), "{guard}");
        assert_eq!(guard, standby);
    };
    // It cannot be reached: the real systemd-run says why.
    machine.ok("login dark; login still");
    let said = machine.ok(
        "within dark unshare --mount sh -c \"mount --bind /dev/null /run/systemd/private && \
         exec $ruletop apply /run/script --no-wait\"",
    );
    without("dark", &said, "systemd-run: Failed to");
    // What the remark warns of.
    machine.ok("systemctl stop dark.scope");
    assert!(!machine.is_changed());
    machine.wait_for_no_scope();
    // It does not answer.
    kill(machine.first, Signal::SIGSTOP).unwrap();
    let said = machine.change("still", "60s");
    without("still", &said, "no answer within");
    machine.ok("$ruletop revert");
    assert!(!machine.is_changed());
    kill(machine.first, Signal::SIGCONT).unwrap();
    patiently("systemd to go on", || {
        machine.run("systemctl is-system-running").status.success()
    });
    machine.wait_for_no_scope();
}
