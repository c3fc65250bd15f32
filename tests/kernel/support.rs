//! A private network namespace for one test.
//!
//! Each test gets a thread of its own that leaves the namespace it was started in before it does
//! anything; sockets that it opens and commands that it runs are in the new one, which goes with the
//! thread. The firewall of the namespace that the tests were started in is never touched.
//!
//! Where a namespace cannot be had the test fails and says why: a suite that skips itself silently is
//! green for the wrong reason.

use std::io::Write;
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use ruletop::ruleset::{Backend, Family, Origin};

/// The longest that any condition is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The namespace of the calling thread, and what commands in it need.
pub struct Net {
    lock: tempfile::TempDir,
}

/// Runs `test` in a namespace of its own, with `lo` up, and hands its panic on.
pub fn in_namespace(test: impl FnOnce(&Net) + Send + 'static) {
    let thread = std::thread::Builder::new()
        .name("namespace".into())
        .spawn(move || {
            if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
                panic!(
                    "no network namespace ({errno}): run the tests as root, or as \
                     `unshare --user --map-root-user cargo test --test kernel`"
                );
            }
            let net = Net {
                lock: tempfile::tempdir().expect("a folder for the xtables lock"),
            };
            net.ok("ip link set lo up");
            test(&net);
        })
        .expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Net {
    /// Runs a shell command in the namespace.
    pub fn run(&self, command: &str) -> Output {
        self.command(command).output().expect("sh runs")
    }

    /// Runs a shell command that must succeed; its standard output.
    pub fn ok(&self, command: &str) -> String {
        let output = self.run(command);
        assert!(
            output.status.success(),
            "{command}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `iptables-nft ARGS` and its like, which must succeed.
    pub fn tables(&self, origin: Origin, arguments: &str) -> String {
        self.ok(&format!("{origin} {arguments}"))
    }

    /// Loads a dump, counters included, with further options of restore.
    pub fn restore(&self, origin: Origin, options: &str, dump: &str) {
        if let Err(stderr) = self.try_restore(origin, options, dump) {
            panic!("{origin}-restore: {stderr}");
        }
    }

    /// Adds lines to a table, some hundred at a time: in a user namespace one message to the kernel holds
    /// no more.
    pub fn restore_in_pieces(&self, origin: Origin, table: &str, lines: &[String]) {
        for piece in lines.chunks(300) {
            self.restore(origin, "-n", &dump_of(table, piece));
        }
    }

    /// As [`restore`](Net::restore); what the tool said when it failed.
    pub fn try_restore(&self, origin: Origin, options: &str, dump: &str) -> Result<(), String> {
        let mut child = self
            .command(&format!("{origin}-restore -c {options}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut stdin = child.stdin.take().expect("piped");
        let written = stdin.write_all(dump.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("restore ends");
        if output.status.success() && written.is_ok() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts a shell command in a process group of its own, to be ended as one.
    pub fn spawn(&self, command: &str) -> Group {
        use std::os::unix::process::CommandExt;
        let mut shell = self.command(command);
        shell
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Group(shell.spawn().expect("sh runs"))
    }

    fn command(&self, command: &str) -> Command {
        let mut sh = Command::new("sh");
        sh.arg("-c")
            .arg(command)
            .env("XTABLES_LOCKFILE", self.lock.path().join("lock"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap_or_default();
        sh.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        sh
    }
}

/// One table with these lines.
pub fn dump_of(table: &str, lines: &[String]) -> String {
    format!("*{table}\n{}\nCOMMIT\n", lines.join("\n"))
}

/// A running command with its children.
pub struct Group(std::process::Child);

impl Group {
    /// Ends it, children included.
    pub fn end(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends `count` datagrams of `payload` bytes over loopback to a port where nobody listens.
pub fn send_udp(family: Family, port: u16, count: usize, payload: usize) {
    let (from, to) = match family {
        Family::V4 => ("127.0.0.1:0", format!("127.0.0.1:{port}")),
        Family::V6 => ("[::1]:0", format!("[::1]:{port}")),
    };
    let socket = UdpSocket::bind(from).expect("a socket");
    for _ in 0..count {
        // A refusal of an earlier datagram is reported here and is as good as an answer.
        let _ = socket.send_to(&vec![b'x'; payload], &to);
    }
}

/// Waits until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// IPv4 in nf_tables.
pub const NFT4: Origin = Origin::new(Family::V4, Backend::Nft);
/// IPv6 in nf_tables.
pub const NFT6: Origin = Origin::new(Family::V6, Backend::Nft);
/// IPv4 in x_tables.
pub const LEGACY4: Origin = Origin::new(Family::V4, Backend::Legacy);
/// IPv6 in x_tables.
pub const LEGACY6: Origin = Origin::new(Family::V6, Backend::Legacy);
