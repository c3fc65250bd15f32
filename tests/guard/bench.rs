//! A workbench: a namespace with a ruleset that has counted something, private folders, and the program.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{Flock, FlockArg};
use ruletop::ruleset::{Backend, Family, Origin, Ruleset};

use crate::harness::{Launch, Terminal, patiently};
use crate::support::{Net, in_namespace, send_udp};

/// The variable that the harness knows its processes by.
const TAG: &str = "RULETOP_TEST_TERMINAL";

pub struct Bench<'a> {
    pub net: &'a Net,
    pub origin: Origin,
    folder: tempfile::TempDir,
    tag: String,
}

/// Does `test` on a bench of every back end and family, all at once.
pub fn on_every(test: impl Fn(&Bench<'_>) + Send + Sync + Copy + 'static) {
    std::thread::scope(|scope| {
        for origin in Origin::ALL {
            scope.spawn(move || on(origin, test));
        }
    });
}

/// Does `test` on a bench of that origin.
pub fn on(origin: Origin, test: impl Fn(&Bench<'_>) + Send + 'static) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    in_namespace(move |net| {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let bench = Bench {
            net,
            origin,
            folder: tempfile::tempdir().unwrap(),
            tag: format!("guard-{}-{count}", std::process::id()),
        };
        bench.load();
        test(&bench);
        assert_eq!(bench.tagged(), [0; 0], "a process is left over");
    });
}

impl Bench<'_> {
    /// Rules that have counted, one of them in a chain of its own. Legacy tables cannot be removed, so there
    /// the second table of the change is made now.
    fn load(&self) {
        let (local, remote) = match self.origin.family {
            Family::V4 => ("127.0.0.1", "192.0.2.7"),
            Family::V6 => ("::1", "2001:db8::7"),
        };
        let mut dump = String::from(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:own - [0:0]\n",
        );
        let _ = write!(
            dump,
            "[0:0] -A INPUT -p udp -m udp --dport 4001 -j own\n\
             [0:0] -A INPUT -p udp -m udp --dport 4002 -j DROP\n\
             [0:0] -A INPUT -s {remote} -j DROP\n\
             [0:0] -A INPUT -p udp -m udp --dport 4003 -m comment --comment \"the third\" -j DROP\n\
             [0:0] -A own -d {local} -j ACCEPT\nCOMMIT\n"
        );
        if self.origin.backend == Backend::Legacy {
            dump.push_str("*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n");
        }
        self.net.restore(self.origin, "", &dump);
        for port in [4001, 4002, 4003] {
            send_udp(self.origin.family, port, 3, 8);
        }
    }

    /// A change that moves a counted rule, deletes one, makes a chain and a jump to it, sets a policy, and
    /// writes to a second table: two transactions of the kernel.
    pub fn change() -> String {
        "*filter\n:FORWARD DROP [0:0]\n:fresh - [0:0]\n-A fresh -j RETURN\n-D INPUT 2\n\
         -I INPUT 1 -p udp --dport 4009 -j fresh\n-D INPUT 4\n\
         -I INPUT 1 -p udp --dport 4003 -m comment --comment \"the third\" -j DROP\nCOMMIT\n\
         *mangle\n-A PREROUTING -p udp --dport 4010 -j ACCEPT\nCOMMIT\n"
            .to_owned()
    }

    pub fn path_exists(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }

    /// A backup that was being written when everything was killed stays behind under a name that nobody
    /// reads, until the next one is made.
    pub fn clear_unfinished(&self) {
        for entry in std::fs::read_dir(self.path("backup"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with('.') {
                std::fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn folders(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for what in ["state", "backup", "log"] {
            arguments.push(format!("--{what}-folder"));
            arguments.push(self.path(what));
        }
        arguments
    }

    /// Where the lock file of this namespace's tools is.
    fn lock(&self) -> String {
        self.net.ok("printf %s \"$XTABLES_LOCKFILE\"")
    }

    /// A file with that ruleset.
    pub fn saved(&self, ruleset: &Ruleset) -> String {
        let path = self.path("saved");
        std::fs::write(&path, ruleset.bytes()).unwrap();
        path
    }

    fn script(&self) -> String {
        let path = self.path("change");
        std::fs::write(&path, Self::change()).unwrap();
        path
    }

    fn apply_arguments(&self, script: &str, window: &str) -> Vec<String> {
        let family = match self.origin.family {
            Family::V4 => "4",
            Family::V6 => "6",
        };
        let mut arguments: Vec<String> = ["apply", script, "--family", family, "--backend"]
            .map(String::from)
            .to_vec();
        arguments.push(self.origin.backend.name().to_owned());
        arguments.extend(["--confirm-within".to_owned(), window.to_owned()]);
        arguments.extend(self.folders());
        arguments
    }

    /// A shell script in a mount namespace of its own, in which `apply` is the change and `ruletop` the program.
    pub fn in_mounts(&self, window: &str, script: &str) -> Output {
        let program = env!("CARGO_BIN_EXE_ruletop");
        let folders = self.folders().join(" ");
        let apply = self.apply_arguments(&self.script(), window).join(" ");
        let text = format!(
            "apply() {{ {program} {apply} --no-wait; }}\nruletop() {{ {program} \"$@\" {folders}; }}\n{script}"
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &text])
            .env("XTABLES_LOCKFILE", self.lock())
            .env(TAG, &self.tag)
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// `ruletop apply` of the change in a terminal.
    pub fn apply(&self, window: &str) -> Terminal {
        let script = self.script();
        Launch::ruletop()
            .args(self.apply_arguments(&script, window))
            .env("XTABLES_LOCKFILE", &self.lock())
            .start()
    }

    /// … of a script, by somebody whose shell has that SSH_CONNECTION.
    pub fn apply_from(&self, script: &str, connection: &str) -> Terminal {
        Launch::ruletop()
            .args(self.apply_arguments(script, "60s"))
            .env("XTABLES_LOCKFILE", &self.lock())
            .env("SSH_CONNECTION", connection)
            .start()
    }

    /// `ruletop apply` of a script, to be added to.
    pub fn apply_command(&self, script: &str, window: &str) -> Command {
        let mut command = self.command();
        command.args(self.apply_arguments(script, window));
        command
    }

    /// `ruletop apply --no-wait` of a script, begun.
    pub fn start(&self, script: &str, window: &str) -> std::process::Child {
        let mut command = self.apply_command(script, window);
        command.arg("--no-wait").spawn().unwrap()
    }

    /// … of the change.
    pub fn start_change(&self, window: &str) -> std::process::Child {
        self.start(&self.script(), window)
    }

    /// `ruletop apply --no-wait` of the change, with that folder first in PATH.
    pub fn run_change_with(&self, folder: &str) -> Output {
        let mut arguments = self.apply_arguments(&self.script(), "60s");
        arguments.push("--no-wait".to_owned());
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.command();
        command
            .args(arguments)
            .env("PATH", format!("{folder}:{path}"));
        command.output().unwrap()
    }

    /// The program without arguments, its processes known.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ruletop"));
        command
            .env("XTABLES_LOCKFILE", self.lock())
            .env(TAG, &self.tag)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `ruletop COMMAND` with this bench's folders.
    pub fn ruletop(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).args(self.folders());
        command.output().unwrap()
    }

    /// … which must succeed; its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.ruletop(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The ruleset as it is.
    pub fn save(&self) -> Ruleset {
        let text = self.net.ok(&format!("{}-save -c", self.origin));
        Ruleset::parse(text.into_bytes(), self.origin).unwrap()
    }

    /// Living processes that were started here, by [`command`](Self::command).
    pub fn tagged(&self) -> Vec<i32> {
        let wanted = format!("{TAG}={}\0", self.tag);
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment
                    .windows(wanted.len())
                    .any(|window| window == wanted.as_bytes())
            })
            .collect()
    }

    /// Waits until none of them lives, nor holds the guard's lock: a process that ends loses its memory,
    /// which we know it by, a moment before its files.
    pub fn wait_for_no_process(&self) {
        patiently("the end of every process", || {
            self.tagged().is_empty() && !self.is_guarded()
        });
    }

    /// Waits for the end of every process and of the pending change. Where all guards were killed at once, the
    /// next ruletop of any kind finds what they left.
    pub fn settle(&self) {
        patiently("the end of the change", || {
            let none = self.tagged().is_empty() && !self.is_guarded();
            if none && !self.left().is_empty() {
                self.ok(&["status"]);
                return false;
            }
            none
        });
    }

    /// What is in the state folder but the locks.
    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = std::fs::read_dir(Path::new(&self.path("state")))
            .map(|entries| {
                let names = entries.flatten().map(|entry| entry.file_name());
                names
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect()
            })
            .unwrap_or_default();
        left.retain(|name| !["lock", "guard.lock", "hands.lock"].contains(&name.as_str()));
        left
    }

    fn is_guarded(&self) -> bool {
        let lock = std::fs::File::open(self.path("state/guard.lock"));
        lock.is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
    }

    /// The process id that the pending record gives as `guard` or `standby`; waits for it.
    pub fn pid(&self, which: &str) -> nix::unistd::Pid {
        let mut found = None;
        patiently(which, || {
            let text = std::fs::read(self.path("state/pending.json")).unwrap_or_default();
            let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            found = record[which]
                .as_i64()
                .filter(|pid| *pid > 0)
                .map(|pid| nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()));
            found.is_some()
        });
        found.unwrap()
    }

    /// Everything is as in `before`, with no counter lower, and nothing is left over but what should be.
    #[track_caller]
    pub fn assert_same(&self, before: &Ruleset) {
        let now = self.save();
        assert_eq!(tables(&now), tables(before), "{}", self.origin);
        self.assert_counters(before, &now);
        self.assert_clean();
    }

    /// Rules of `earlier` that are still there count no less. ip6tables-nft-restore 1.8.9 loads rule counters
    /// as zero, so there only rules that were never touched are held to it.
    #[track_caller]
    pub fn assert_counters(&self, earlier: &Ruleset, later: &Ruleset) {
        let lossy = self.origin == Origin::new(Family::V6, Backend::Nft);
        let (was, is) = (earlier.saved_counters(), later.saved_counters());
        for rule in earlier.rules() {
            let id = earlier.text_id(rule);
            let Some(twin) = later.rules().find(|other| later.text_id(*other) == id) else {
                continue;
            };
            let spec = String::from_utf8_lossy(earlier.spec(rule)).into_owned();
            let touched = spec.contains("4002") || spec.contains("4003");
            if lossy && touched {
                continue;
            }
            let (was, is) = (was.rule(rule), is.rule(twin));
            assert!(
                is.packets >= was.packets && is.bytes >= was.bytes,
                "{}: {spec} counted {was:?}, now {is:?}",
                self.origin
            );
        }
    }

    /// No pending change and no file of one.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left = self.left();
        assert_eq!(left, Vec::<String>::new(), "left in the state folder");
        let unfinished = std::fs::read_dir(self.path("backup")).map(|entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            names
                .filter(|name| name.to_string_lossy().starts_with('.'))
                .count()
        });
        assert_eq!(unfinished.unwrap_or(0), 0, "unfinished backups");
    }
}

/// The text of each table without counters and remarks, sorted by name: legacy's order flips at every write.
pub fn tables(ruleset: &Ruleset) -> Vec<String> {
    let text = String::from_utf8_lossy(ruleset.bytes()).into_owned();
    let mut tables: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('*') {
            tables.push(String::new());
        }
        let line = match (line.starts_with('['), line.starts_with(':')) {
            (true, _) => line.split_once(' ').unwrap().1,
            (_, true) => line.rsplit_once(' ').unwrap().0,
            _ => line,
        };
        if let Some(table) = tables.last_mut() {
            table.push_str(line);
            table.push('\n');
        }
    }
    tables.sort();
    tables
}
