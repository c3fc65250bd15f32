//! The lock-out pre-flight against the kernel: what it says of a connection is what then happens to it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use ruletop::flow::Session;
use ruletop::host;
use ruletop::ruleset::{Document, Hints, Ruleset};
use ruletop::safety::preflight::{Question, Report, Standing, preflight};
use ruletop::verdict::Facts;

use crate::support::{LEGACY4, NFT4, Net, in_namespace, wait_for};

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
    let before: Vec<&Ruleset> = before.rulesets().iter().collect();
    let after: Vec<&Ruleset> = after.rulesets().iter().collect();
    let links = host::links();
    let facts = Facts {
        local: links.addresses(),
        ..Facts::default()
    };
    let sessions = [session.clone()];
    let question = Question {
        sessions: &sessions,
        before: &before,
        after: &after,
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
