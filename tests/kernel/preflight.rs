//! The lock-out pre-flight against the kernel: what it says of a connection is what then happens to it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ruletop::edit::{ChainName, Operation, Spot, Stage};
use ruletop::flow::Session;
use ruletop::host;
use ruletop::netfilter::netlink::Netlink;
use ruletop::netfilter::nftables::inspect::inspect;
use ruletop::ruleset::{Document, Hints, Lossy, Marked, Origin, Ruleset};
use ruletop::safety::preflight::{Question, Report, Standing, preflight};
use ruletop::verdict::Facts;

use crate::support::{LEGACY4, NFT4, NFT6, Net, in_namespace, wait_for};

/// A shell under the name of sshd's own, which holds a connection; below it a shell that prints its number
/// and then what comes in.
const TREE: &str = r#"
set -e
cp "$(command -v bash)" "$1/sshd-session"
exec "$1/sshd-session" -c 'exec 9<>/dev/tcp/127.0.0.1/'"$2"'
    bash -c "echo \$\$; cat <&9"; :'
"#;

struct Login {
    tree: Child,
    _folder: tempfile::TempDir,
    stream: TcpStream,
    out: BufReader<std::process::ChildStdout>,
    session: Session,
}

impl Login {
    fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Command::new("bash")
            .args(["-c", TREE, "tree"])
            .arg(folder.path())
            .arg(server.local_addr().unwrap().port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stream, _) = server.accept().unwrap();
        let mut out = BufReader::new(tree.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        let mut found = host::sessions_of(pid, &host::Processes::read()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        Self {
            tree,
            _folder: folder,
            stream,
            out,
            session: found.remove(0),
        }
    }

    fn end(mut self) {
        drop(self.stream);
        let _ = self.tree.kill();
        let _ = self.tree.wait();
    }
}

fn read(text: &str) -> Document {
    Document::parse(text.as_bytes().to_vec(), Hints::default()).unwrap()
}

fn judge(session: &Session, before: &Document, after: &Document) -> Report {
    let before: Vec<Marked<'_>> = before.rulesets().iter().map(Marked::from).collect();
    let after: Vec<Marked<'_>> = after.rulesets().iter().map(Marked::from).collect();
    judge_marked(session, &before, &after)
}

fn judge_marked(session: &Session, before: &[Marked<'_>], after: &[Marked<'_>]) -> Report {
    let links = host::links();
    let facts = Facts {
        local: links.addresses(),
        ..Facts::default()
    };
    let sessions = [session.clone()];
    let question = Question {
        sessions: &sessions,
        before,
        after,
        natives: &[],
        facts: &facts,
        tracked: true,
    };
    preflight(&question).remove(0)
}

/// Packets that rules which drop have counted, the policy among them.
fn dropped(net: &Net, save: &str) -> u64 {
    let text = net.ok(save);
    let drops = text.lines().filter(|line| line.contains("DROP"));
    let number = |line: &str| -> Option<u64> {
        let (_, rest) = line.split_once('[')?;
        rest.split_once(':')?.0.parse().ok()
    };
    drops.filter_map(number).sum()
}

#[test]
fn what_it_says_of_a_connection_is_what_happens_to_it() {
    in_namespace(|net| {
        for origin in [NFT4, LEGACY4] {
            let save = format!("{origin}-save -c");
            let accept_all = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n";
            for (rules, expected) in [
                (
                    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                    Standing::Accepted,
                ),
                (
                    "-A INPUT -i lo -p tcp -m tcp --sport PEER -j ACCEPT",
                    Standing::Accepted,
                ),
                ("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", Standing::Cut),
                (
                    "-A INPUT -p tcp -m tcp --sport PEER -j DROP\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
                    Standing::Cut,
                ),
            ] {
                net.restore(origin, "", accept_all);
                let mut login = Login::new();
                let rules = rules.replace("PEER", &login.session.peer.port().to_string());
                // Answers of the kernel itself (ACK) come back by lo too: the other direction stays open.
                let back = format!(
                    "-A INPUT -p tcp -m tcp --dport {} -j ACCEPT",
                    login.session.peer.port()
                );
                let text = format!(
                    "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{back}\n{rules}\nCOMMIT\n"
                );
                let before = read(&net.ok(&save));
                net.restore(origin, "", &text);
                let after = read(&net.ok(&save));
                let report = judge(&login.session, &before, &after);
                assert_eq!(
                    report.connection(),
                    expected,
                    "{origin} {rules}: {report:#?}"
                );
                login.stream.write_all(b"hello\n").unwrap();
                if expected == Standing::Accepted {
                    let mut line = String::new();
                    login.out.read_line(&mut line).unwrap();
                    assert_eq!(line, "hello\n");
                } else {
                    wait_for("a dropped packet", || {
                        Some(()).filter(|()| dropped(net, &save) > 0)
                    });
                }
                net.restore(origin, "", accept_all);
                login.end();
            }
        }
    });
}

/// What the kernel holds, as its save tool prints it, with the rules of which that is not all.
fn held(net: &Net, origin: Origin) -> (Arc<Ruleset>, Vec<Lossy>) {
    let text = net.ok(&format!("{origin}-save -c"));
    let ruleset = Ruleset::parse(text.into_bytes(), origin).unwrap();
    let mut netlink = Netlink::open().unwrap();
    let lossy = inspect(&mut netlink, origin.family)
        .unwrap()
        .lossy_of(&ruleset);
    (Arc::new(ruleset), lossy)
}

/// The report of a session about a harmless change beside what the kernel holds, of marks and without.
fn beside(net: &Net, origin: Origin, session: &Session) -> [Report; 2] {
    let (before, lossy) = held(net, origin);
    let mut stage = Stage::new(Arc::clone(&before)).locked(&lossy);
    for operation in [
        Operation::AddChain {
            chain: ChainName::new("filter", "AAA"),
        },
        Operation::Insert {
            at: Spot::new("filter", "FORWARD", None),
            spec: b"-j AAA".to_vec(),
        },
    ] {
        stage.carry_out(operation).unwrap();
    }
    let after = stage.staged();
    let kernel = Marked {
        ruleset: &before,
        lossy: &lossy,
    };
    let carried = kernel.carried(&after);
    let staged = Marked {
        ruleset: &after,
        lossy: &carried,
    };
    [
        judge_marked(session, &[kernel], &[staged]),
        judge_marked(session, &[Marked::from(&*before)], &[Marked::from(&*after)]),
    ]
}

/// The native rules are saved as `-A INPUT -j ACCEPT` and, of a map, as a rule that does nothing.
#[test]
fn a_native_rule_that_is_saved_wider_proves_nothing() {
    in_namespace(|net| {
        for (origin, family, kind, far) in [
            (NFT4, "ip", "ipv4_addr", "192.0.2.1"),
            (NFT6, "ip6", "ipv6_addr", "2001:db8::1"),
        ] {
            let map = format!("{family} saddr vmap {{ {far} : drop }}");
            for (rules, told) in [
                (
                    vec![format!("{family} saddr @good accept")],
                    "filter INPUT rule 1: a set or map decides",
                ),
                (
                    vec![map, "accept".to_owned()],
                    "filter INPUT rule 1, which does more than its text says",
                ),
            ] {
                let mut login = Login::new();
                if family == "ip6" {
                    for end in [&mut login.session.peer, &mut login.session.local] {
                        end.set_ip("::1".parse().unwrap());
                    }
                }
                net.tables(origin, "-P INPUT DROP");
                net.ok(&format!(
                    "nft add set {family} filter good '{{ type {kind}; }}'"
                ));
                for rule in &rules {
                    net.ok(&format!("nft add rule {family} filter INPUT '{rule}'"));
                }
                let [marked, plain] = beside(net, origin, &login.session);
                assert_eq!(plain.standing(), Standing::Accepted, "the text says so");
                assert_eq!(marked.standing(), Standing::Doubtful, "{marked:#?}");
                let why = &marked.foremost().unwrap().why;
                assert!(why.contains(told), "{why}");
                // The set is empty: whoever believed the text is locked out now.
                if origin == NFT4 && rules.len() == 1 {
                    login.stream.write_all(b"hello\n").unwrap();
                    wait_for("a dropped packet", || {
                        Some(()).filter(|()| dropped(net, "iptables-nft-save -c") > 0)
                    });
                }
                net.ok("nft flush ruleset");
                login.end();
            }
        }
    });
}

/// A native rule that iptables has no words for takes its whole table out of what is saved.
#[test]
fn a_table_that_is_not_saved_at_all_proves_nothing() {
    in_namespace(|net| {
        for (origin, family, ip) in [(NFT4, "ip", "127.0.0.1"), (NFT6, "ip6", "::1")] {
            let mut login = Login::new();
            for end in [&mut login.session.peer, &mut login.session.local] {
                end.set_ip(ip.parse().unwrap());
            }
            net.tables(origin, "-t mangle -P INPUT ACCEPT");
            net.tables(origin, "-P INPUT DROP");
            net.ok(&format!(
                "nft add rule {family} filter INPUT 'ct state invalid drop'"
            ));
            let (ruleset, _) = held(net, origin);
            assert!(ruleset.find_table("filter").is_none());
            let stage = Stage::new(Arc::clone(&ruleset));
            let after = stage.staged();
            let report = judge_marked(
                &login.session,
                &[Marked::from(&*ruleset)],
                &[Marked::from(&*after)],
            );
            assert_eq!(report.standing(), Standing::Doubtful, "{report:#?}");
            let why = &report.foremost().unwrap().why;
            assert!(why.contains(&format!("{family} filter INPUT")), "{why}");
            net.ok("nft flush ruleset");
            login.end();
        }
    });
}
