//! The end: whatever happens to the UI process, nothing stays behind.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::trial::{
    Trial, User, all_pids, foreign_namespaces, marked, namespaces_of, spawn, wait_until,
};

/// A scenario with all three places and a bridge.
const SCENARIO: &str = "docker-beside-ufw";

#[test]
fn an_orderly_end_leaves_nothing() {
    let trial = Trial::start(SCENARIO, "nft", User::Me);
    let left = What::of(&trial);
    assert!(trial.finish().success());
    left.must_be_gone();
}

#[test]
fn sigkill_of_the_ui_leaves_nothing() {
    for user in [User::Me, User::Nobody] {
        let trial = Trial::start(SCENARIO, "legacy", user);
        let left = What::of(&trial);
        trial.kill();
        left.must_be_gone();
    }
}

#[test]
fn the_keepers_death_ends_the_helpers_and_is_noticed() {
    let mut trial = Trial::start(SCENARIO, "nft", User::Me);
    let [_, keeper, init] = trial.pids();
    kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
    wait_until("init to be gone", || (!is_alive(init)).then_some(()));
    // The trial says so and leaves; it does not hang.
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        trial.order("probe works");
    }));
    let said = *answer.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("helpers do not answer"), "{said}");
    assert_eq!(trial.finish().code(), Some(2));
}

/// From before the first namespace to after the first packet: 120 moments, two milliseconds apart.
#[test]
fn sigkill_at_any_moment_of_the_set_up_leaves_nothing() {
    for moment in 0..120_u64 {
        let mark = format!("kill-{}-{moment}", std::process::id());
        let user = if moment % 3 == 0 {
            User::Nobody
        } else {
            User::Me
        };
        let backend = if moment % 2 == 0 { "nft" } else { "legacy" };
        let mut trial = spawn(SCENARIO, backend, user, &mark);
        sleep(Duration::from_millis(moment * 2));
        trial.kill().unwrap();
        trial.wait().unwrap();
        wait_until("the last helper to go", || {
            marked(&mark).is_empty().then_some(())
        });
    }
}

/// ^C, ^Z and a hang-up go to the terminal's processes: the helpers must not be among them.
#[test]
fn helpers_have_no_terminal_and_a_session_of_their_own() {
    let trial = Trial::start(SCENARIO, "nft", User::Me);
    let [ui, keeper, init] = trial.pids();
    let (our_session, _) = session_and_terminal(ui);
    for helper in [keeper, init] {
        let (session, terminal) = session_and_terminal(helper);
        assert_ne!(session, our_session);
        assert_eq!(terminal, "0");
    }
    // The UI itself stays where it was.
    let me = i32::try_from(std::process::id()).unwrap();
    assert_eq!(our_session, session_and_terminal(me).0);
    let pid_space = |pid| {
        namespaces_of(pid)
            .into_iter()
            .find(|one| one.starts_with("pid:"))
    };
    assert_eq!(pid_space(ui), pid_space(me));
    assert_ne!(pid_space(init), pid_space(me));
}

/// Fields 6 and 7 of proc_pid_stat(5), counted from the end of the name.
fn session_and_terminal(pid: i32) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    (fields[3].to_owned(), fields[4].to_owned())
}

/// Running, and not a zombie that waits for its parent.
fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

/// What a trial brought into the world.
struct What {
    pids: [i32; 3],
    spaces: BTreeSet<String>,
    mounts: String,
}

impl What {
    fn of(trial: &Trial) -> Self {
        let pids = trial.pids();
        // Nothing else belongs to it; and the mark, which the other tests here search for, does find all.
        assert_eq!(marked(&trial.mark), BTreeSet::from(pids));
        let spaces = foreign_namespaces(&pids);
        // Box, outside, behind; a mount, a host name and a PID namespace.
        let nets = spaces.iter().filter(|one| one.starts_with("net:")).count();
        assert_eq!(nets, 3, "{spaces:?}");
        for kind in ["mnt:", "uts:", "pid:"] {
            assert!(spaces.iter().any(|one| one.starts_with(kind)), "{spaces:?}");
        }
        Self {
            pids,
            spaces,
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
        }
    }

    /// No process, no thread in one of its namespaces, hence no namespace, link, rule or mount in them.
    fn must_be_gone(&self) {
        // The threads of a process go one by one, after it has become a zombie.
        wait_until("its processes to go", || {
            let left = |pid: i32| !namespaces_of(pid).is_disjoint(&self.spaces);
            let alive = self.pids.iter().any(|pid| is_alive(*pid));
            (!alive && !all_pids().any(left)).then_some(())
        });
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mounts, self.mounts);
    }
}
