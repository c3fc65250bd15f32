//! What others do to the same chain while a change waits: their rules stay, ours go, and the undoing locks
//! nobody out.

use ruletop::ruleset::{Backend, Family, Origin, Ruleset};

use crate::bench::{Bench, on, on_every};
use crate::matrix::kill_all;

/// How the change ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Revert,
    Deadline,
    /// The guard is killed before, and its standby reverts.
    Successor,
    /// Both are killed, and whoever reverts puts another guard over it.
    Adopted,
}

const SSH: &str = "-p tcp -m tcp --dport 22 -j ACCEPT";
const WEB: &str = "-p tcp -m tcp --dport 80 -j ACCEPT";
const EST: &str = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

/// The usual: what is known, two services, and an end.
fn load(bench: &Bench<'_>, policy: &str, last: &str) {
    let dump = format!(
        "*filter\n:INPUT {policy} [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         -A INPUT {EST}\n-A INPUT {SSH}\n-A INPUT {WEB}\n{last}COMMIT\n"
    );
    bench
        .net
        .ok(&format!("{} -F; {} -X", bench.origin, bench.origin));
    bench.net.restore(bench.origin, "", &dump);
}

fn nft(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

/// Makes the change, lets `meanwhile` happen, ends it; what `revert` said, or the history.
fn undone(bench: &Bench<'_>, change: &str, meanwhile: &[&str], end: End) -> String {
    let path = bench.path("own-change");
    std::fs::write(&path, format!("*filter\n{change}\nCOMMIT\n")).unwrap();
    let window = if end == End::Deadline { "2s" } else { "60s" };
    let made = bench.start(&path, window).wait_with_output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let family = nft(bench.origin.family);
    let addresses = match bench.origin.family {
        Family::V4 => ("ipv4_addr", "ip saddr"),
        Family::V6 => ("ipv6_addr", "ip6 saddr"),
    };
    for command in meanwhile {
        let command = command
            .replace("TABLES", &bench.origin.to_string())
            .replace("FAMILY", family)
            .replace("ADDRESS", addresses.0)
            .replace("SADDR", addresses.1);
        bench.net.ok(&command);
    }
    match end {
        End::Deadline => {
            bench.wait_for_no_process();
            return bench.ok(&["status", "--history"]);
        }
        End::Successor => {
            let guard = bench.pid("guard");
            nix::sys::signal::kill(guard, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        End::Adopted => kill_all(bench),
        End::Revert => {}
    }
    let said = bench.ok(&["revert"]);
    bench.settle();
    said
}

fn input(bench: &Bench<'_>) -> Vec<String> {
    specs(&bench.save(), "INPUT")
}

fn specs(ruleset: &Ruleset, chain: &str) -> Vec<String> {
    let Some(chain) = ruleset.find_chain("filter", chain) else {
        return Vec::new();
    };
    let rules = ruleset.chain(chain).rules().iter();
    rules
        .map(|rule| String::from_utf8_lossy(ruleset.spec(*rule)).into_owned())
        .collect()
}

fn on_nft(test: impl Fn(&Bench<'_>) + Send + Sync + Copy + 'static) {
    std::thread::scope(|scope| {
        for family in [Family::V4, Family::V6] {
            scope.spawn(move || on(Origin::new(family, Backend::Nft), test));
        }
    });
}

/// The native rules of a chain, with their handles.
fn native(bench: &Bench<'_>, chain: &str) -> Vec<String> {
    let family = nft(bench.origin.family);
    let listed = bench
        .net
        .ok(&format!("nft -a list chain {family} filter {chain}"));
    let lines = listed.lines().map(str::trim);
    lines
        .filter(|l| l.contains('@'))
        .map(str::to_owned)
        .collect()
}

const SET: &str = "nft 'add set FAMILY filter ok { type ADDRESS; }'";

#[test]
fn a_native_rule_whose_text_is_that_of_ours_stays() {
    on_nft(|bench| {
        for (at, end) in [End::Revert, End::Deadline, End::Successor, End::Adopted]
            .into_iter()
            .enumerate()
        {
            for verb in ["add", "insert"] {
                if at > 1 && verb == "insert" {
                    continue;
                }
                for (verdict, target) in [("accept", "ACCEPT"), ("drop", "DROP")] {
                    load(bench, "ACCEPT", "-A INPUT -j DROP\n");
                    let before = input(bench);
                    let add = format!("nft {verb} rule FAMILY filter INPUT SADDR @ok {verdict}");
                    let said = undone(bench, &format!("-I INPUT 1 -j {target}"), &[SET, &add], end);
                    let left = native(bench, "INPUT");
                    assert_eq!(left.len(), 1, "{end:?} {verb} {verdict}: {said}");
                    let mut now = input(bench);
                    // As iptables says it.
                    let place = if verb == "add" { before.len() } else { 0 };
                    assert_eq!(now.remove(place), format!("-j {target}"));
                    assert_eq!(now, before, "{end:?} {verb} {verdict}: {said}");
                    assert!(!said.contains("as it was"), "{said}");
                }
            }
        }
    });
}

#[test]
fn a_native_rule_is_not_made_wider() {
    on_nft(|bench| {
        for place in [
            "insert rule FAMILY filter INPUT",
            "add rule FAMILY filter INPUT",
            "insert rule FAMILY filter INPUT index 2",
        ] {
            load(bench, "ACCEPT", "-A INPUT -j ACCEPT\n");
            let before = input(bench);
            let add = format!("nft {place} SADDR @ok accept");
            let said = undone(
                bench,
                "-D INPUT 4\n-I INPUT 3 -j ACCEPT",
                &[SET, &add],
                End::Revert,
            );
            assert_eq!(native(bench, "INPUT").len(), 1, "{place}: {said}");
            let now = input(bench);
            assert_eq!(now.len(), before.len() + 1, "{now:?}");
            let bare = now.iter().filter(|spec| *spec == "-j ACCEPT").count();
            assert_eq!(
                bare, 2,
                "theirs, as iptables says it, and the old one: {now:?}"
            );
            assert!(
                said.contains("stays") || said.contains("look at its place"),
                "{said}"
            );
        }
    });
}

#[test]
fn a_rule_of_another_that_says_the_same_stays() {
    const OURS: &str = "-p tcp -m tcp --dport 8080 -j ACCEPT";
    on_every(|bench| {
        for (place, end) in [
            (1, End::Revert),
            (2, End::Deadline),
            (3, End::Revert),
            (2, End::Successor),
            (3, End::Adopted),
        ] {
            load(bench, "ACCEPT", "-A INPUT -j DROP\n");
            let theirs = format!("TABLES -I INPUT {place} -p tcp --dport 8080 -j ACCEPT");
            let said = undone(
                bench,
                "-I INPUT 2 -p tcp --dport 8080 -j ACCEPT",
                &[&theirs],
                end,
            );
            let now = input(bench);
            let copies = now.iter().filter(|spec| *spec == OURS).count();
            assert_eq!(
                copies, 1,
                "{} {place} {end:?}: {now:?} {said}",
                bench.origin
            );
            assert!(!said.contains("as it was"), "{said}");
        }
    });
}

/// Whoever reloads all rules gives them other handles; ours goes all the same.
#[test]
fn a_reload_keeps_nothing_of_ours() {
    on_every(|bench| {
        load(bench, "ACCEPT", "-A INPUT -j DROP\n");
        let before = input(bench);
        let reload = "TABLES-save -c > /tmp/reload-$$ && TABLES-restore -c < /tmp/reload-$$; rm /tmp/reload-$$";
        undone(
            bench,
            "-D INPUT 4\n-I INPUT 1 -p udp -j ACCEPT",
            &[reload],
            End::Revert,
        );
        assert_eq!(input(bench), before);
    });
}

#[test]
fn a_drop_does_not_come_back_alone() {
    on_every(|bench| {
        let mut rescues = vec![
            "TABLES -F INPUT",
            "TABLES -F",
            "TABLES -F INPUT; TABLES -A INPUT -i lo -j ACCEPT",
        ];
        if bench.origin.backend == Backend::Nft {
            rescues.extend(["nft delete table FAMILY filter", "nft flush ruleset"]);
        }
        for (at, rescue) in rescues.into_iter().enumerate() {
            let end = if at == 0 { End::Deadline } else { End::Revert };
            load(bench, "ACCEPT", "-A INPUT -j DROP\n");
            let said = undone(bench, "-D INPUT -j DROP", &[rescue], end);
            let now = input(bench);
            assert!(
                !now.iter().any(|spec| spec.contains("DROP")),
                "{}: {rescue}: {now:?}",
                bench.origin
            );
            assert!(
                said.contains("others emptied chain INPUT"),
                "{rescue}: {said}"
            );
            // Of the rules one alone was made again.
            if at == 1 {
                load(bench, "ACCEPT", "-A INPUT -j DROP\n");
                let again = format!("TABLES -F INPUT; TABLES -A INPUT {EST}");
                let said = undone(bench, "-D INPUT -j DROP", &[&again], end);
                assert_eq!(input(bench), [EST], "{}", bench.origin);
                assert!(said.contains("would lock out"), "{said}");
            }
        }
    });
}

#[test]
fn a_policy_does_not_come_back_over_an_emptied_chain() {
    on_every(|bench| {
        for (rescue, left) in [
            ("TABLES -F INPUT", "ACCEPT"),
            ("TABLES -P INPUT ACCEPT; TABLES -F INPUT", "ACCEPT"),
            ("TABLES -A INPUT -i lo -j ACCEPT", "DROP"),
        ] {
            load(bench, "DROP", "");
            let said = undone(bench, "-P INPUT ACCEPT", &[rescue], End::Revert);
            let now = bench.save();
            let chain = now.find_chain("filter", "INPUT").unwrap();
            let policy = now.chain(chain).policy().unwrap();
            assert_eq!(policy.name(), left, "{}: {rescue}: {said}", bench.origin);
            assert_eq!(
                said.contains("its policy stays"),
                left == "ACCEPT",
                "{said}"
            );
        }
        // The other way round: a policy of ours that locks out goes, and one that others took back stays so.
        for rescue in ["TABLES -F INPUT", "TABLES -P INPUT ACCEPT", "true"] {
            load(bench, "ACCEPT", "");
            undone(bench, "-P INPUT DROP", &[rescue], End::Revert);
            let now = bench.save();
            let chain = now.find_chain("filter", "INPUT").unwrap();
            assert_eq!(now.chain(chain).policy().unwrap().name(), "ACCEPT");
        }
    });
}

/// What is ours goes also out of a chain that others emptied around it.
#[test]
fn a_drop_of_ours_goes_from_an_emptied_chain() {
    on_every(|bench| {
        load(bench, "ACCEPT", "");
        let rescue = "TABLES -D INPUT 2; TABLES -D INPUT 2; TABLES -D INPUT 2";
        undone(bench, "-I INPUT 1 -j DROP", &[rescue], End::Revert);
        assert_eq!(input(bench), Vec::<String>::new(), "{}", bench.origin);
    });
}
