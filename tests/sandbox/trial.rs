//! Driving one trial: start, order, read, find its processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Whose trial it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum User {
    /// Whoever runs the tests.
    Me,
    /// uid 65534 if the tests run as root of the machine, else whoever runs them.
    Nobody,
}

/// A running trial.
pub struct Trial {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What its processes are found by.
    pub mark: String,
    /// The first line.
    pub ready: Value,
}

/// A trial that may not have come up; `mark` is put into its environment, to find its processes by.
pub fn spawn(scenario: &str, backend: &str, user: User, mark: &str) -> Child {
    // By its descriptor: a checkout may lie in a folder that is closed to nobody.
    let binary = File::open(env!("CARGO_BIN_EXE_ruletop")).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    if user == User::Nobody && nix::unistd::geteuid().is_root() && has_nobody() {
        command.uid(65534).gid(65534);
    }
    command
        .args(["__sandbox-actor", "trial", scenario, backend])
        .env("RULETOP_TEST_MARK", mark)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Whether this user namespace knows uid 65534: one that an ordinary user has made knows root only, and
/// then all of this runs in a user namespace anyway.
fn has_nobody() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(|one| one.parse().unwrap())
            .collect();
        (numbers[0]..numbers[0] + numbers[2]).contains(&65_534)
    })
}

impl Trial {
    /// Start one and wait until its sandbox stands.
    pub fn start(scenario: &str, backend: &str, user: User) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!("trial-{}-{number}", std::process::id());
        let mut child = spawn(scenario, backend, user, &mark);
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut trial = Self {
            child,
            orders,
            answers,
            mark,
            ready: Value::Null,
        };
        trial.ready = trial.answer();
        trial
    }

    /// Give an order, return its answer.
    pub fn order(&mut self, order: &str) -> Value {
        let orders = self.orders.as_mut().unwrap();
        orders.write_all(order.as_bytes()).unwrap();
        orders.write_all(b"\n").unwrap();
        self.answer()
    }

    /// Run a program in the box and return what it printed; it must succeed.
    pub fn run(&mut self, command: &str) -> String {
        let done = self.order(&format!("run {command}"));
        assert_eq!(done["status"], 0, "{command}: {}", done["stderr"]);
        done["stdout"].as_str().unwrap().to_owned()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut said = String::new();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("the trial ended: {said}")
        })
    }

    /// The UI process's pid, then its helpers': keeper, init.
    pub fn pids(&self) -> [i32; 3] {
        let ui = i32::try_from(self.child.id()).unwrap();
        let keeper = only_child(ui);
        [ui, keeper, only_child(keeper)]
    }

    /// End of input; returns the exit status.
    pub fn finish(mut self) -> ExitStatus {
        self.orders = None;
        self.child.wait().unwrap()
    }

    /// SIGKILL to the UI process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Trial {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one child of a process that has one.
fn only_child(parent: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let children: Vec<i32> = children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(children.len(), 1, "children of {parent}: {children:?}");
    children[0]
}

/// Poll until `look` finds something; a deadline that is long enough for a busy machine ends the test.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Pids whose environment holds this mark. A zombie has none, and is somebody's child no more than its exit status.
pub fn marked(mark: &str) -> BTreeSet<i32> {
    let mark = format!("RULETOP_TEST_MARK={mark}\0");
    let wanted = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .windows(mark.len())
            .any(|part| part == mark.as_bytes())
    };
    all_pids().filter(wanted).collect()
}

/// Every pid of /proc.
pub fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The namespaces of these processes and their threads that this process is not in itself.
pub fn foreign_namespaces(pids: &[i32]) -> BTreeSet<String> {
    let ours = namespaces_of(i32::try_from(std::process::id()).unwrap());
    let theirs = pids.iter().flat_map(|pid| namespaces_of(*pid));
    theirs.filter(|space| !ours.contains(space)).collect()
}

/// `net:[4026532179]` and so on of every thread.
pub fn namespaces_of(pid: i32) -> BTreeSet<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads
        .flat_map(|thread| {
            fs::read_dir(thread.path().join("ns"))
                .into_iter()
                .flatten()
                .flatten()
        })
        .filter_map(|space| Some(fs::read_link(space.path()).ok()?.to_str()?.to_owned()))
        .collect()
}
