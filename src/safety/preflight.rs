//! The lock-out pre-flight: would the administrator's own connections get through the rules that are to be
//! loaded?
//!
//! Each session is put through by the verdict engine as four packets: the next one that comes in and the
//! next one that goes out, as conntrack sees a standing connection; and the first one of a new login with
//! its answer, because a rule for ESTABLISHED hides that nobody can come back. All hooks, all tables, both
//! back ends and native nft chains are on the way. Only what is accepted for certain counts as safe: what
//! cannot be told is told as such, with the reason.
//!
//! It judges and decides nothing: whether to go on is asked of the user. It reads nothing either; sessions,
//! rulesets and facts are handed in, so that its cases are tables. Rulesets come with their marks: a rule that
//! is known to say less than the kernel holds accepts nobody for certain, and is named as what it depends on.
//!
//! It takes the addresses of the socket for those of the packets. A login that comes in by a DNAT or REDIRECT
//! of this very box arrives with another destination in raw and mangle.

use crate::flow::{Session, TcpFlags};
use crate::ruleset::{BaseChain, Family, Marked, Ruleset};
use crate::verdict::{Connection, CtState, Explanation, Facts, Path, Probe, Program, Verdict};

/// What the judgement rests on. Rulesets are of both families and both back ends, all that there are.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The connections that must not be cut.
    pub sessions: &'a [Session],
    /// What the kernel holds now.
    pub before: &'a [Marked<'a>],
    /// What it is to hold; marks carried over to it ([`Marked::carried`]).
    pub after: &'a [Marked<'a>],
    /// Base chains that iptables does not show.
    pub natives: &'a [BaseChain],
    /// The box: its addresses, sets, the time.
    pub facts: &'a Facts,
    /// conntrack is at work in this namespace already. Where it is not (`nf_conntrack_count` is 0), a rule
    /// that asks for a state switches it on, and it takes the next packet of a connection that stands for a
    /// new one.
    pub tracked: bool,
}

/// Which packet of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The next one from the administrator.
    StandingIn,
    /// The next one to the administrator.
    StandingOut,
    /// The first one of another login.
    FreshIn,
    /// The answer to it.
    FreshOut,
}

impl Moment {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [
        Self::StandingIn,
        Self::StandingOut,
        Self::FreshIn,
        Self::FreshOut,
    ];

    /// Words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::StandingIn => "your connection, incoming",
            Self::StandingOut => "your connection, outgoing",
            Self::FreshIn => "a new login",
            Self::FreshOut => "the answer to a new login",
        }
    }
}

/// What becomes of a packet. The greater the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Accepted for certain.
    Accepted,
    /// Cannot be told.
    Doubtful,
    /// Dropped or rejected for certain.
    Cut,
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accepted,
            Verdict::Unknown => Self::Doubtful,
            Verdict::Drop | Verdict::Reject => Self::Cut,
        }
    }
}

/// The judgement of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Which packet.
    pub moment: Moment,
    /// What becomes of it with the new rules.
    pub standing: Standing,
    /// What becomes of it now.
    pub before: Standing,
    /// Who decides, or on what it depends: `filter INPUT rule 4: -p tcp -j DROP`. Strip before drawing.
    pub why: String,
}

/// The judgement of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The session.
    pub session: Session,
    /// Its packets, in the order of [`Moment::ALL`].
    pub passages: Vec<Passage>,
}

impl Report {
    /// The worst of them.
    pub fn standing(&self) -> Standing {
        self.worst(|_| true)
    }

    /// Of the standing connection alone.
    pub fn connection(&self) -> Standing {
        self.worst(|moment| moment < Moment::FreshIn)
    }

    /// Of another login alone.
    pub fn login(&self) -> Standing {
        self.worst(|moment| moment >= Moment::FreshIn)
    }

    /// The packets that fare worse than now.
    pub fn worsened(&self) -> impl Iterator<Item = &Passage> {
        let passages = self.passages.iter();
        passages.filter(|passage| passage.standing > passage.before)
    }

    /// The packet to tell of first: the worst, and of these the first. `None` where all are accepted.
    pub fn foremost(&self) -> Option<&Passage> {
        let worst = self.standing();
        let mut passages = self.passages.iter();
        passages.find(|passage| worst > Standing::Accepted && passage.standing == worst)
    }

    /// All of its packets are accepted for certain.
    pub fn is_safe(&self) -> bool {
        self.foremost().is_none()
    }

    /// In a line: who, and what becomes of it. Strip before drawing.
    pub fn words(&self) -> String {
        let name = format!(
            "{} → :{}",
            self.session.peer.ip(),
            self.session.local.port()
        );
        let Some(passage) = self.foremost() else {
            return format!("{name} accepted, established and new");
        };
        let what = match passage.standing {
            Standing::Cut => "would be cut",
            Standing::Doubtful | Standing::Accepted => "is not provably accepted",
        };
        let was = if passage.before == passage.standing {
            ", as it is now"
        } else {
            ""
        };
        format!(
            "{name}: {} {what}{was}: {}",
            passage.moment.words(),
            passage.why
        )
    }

    fn worst(&self, of: impl Fn(Moment) -> bool) -> Standing {
        let chosen = self.passages.iter().filter(|passage| of(passage.moment));
        let worst = chosen.map(|passage| passage.standing).max();
        worst.unwrap_or(Standing::Doubtful)
    }
}

/// Judges every session.
pub fn preflight(question: &Question<'_>) -> Vec<Report> {
    let mut reports = Vec::new();
    for family in [Family::V4, Family::V6] {
        let mut of_family = question
            .sessions
            .iter()
            .filter(|session| family_of(session) == family)
            .peekable();
        if of_family.peek().is_none() {
            continue; // 100,000 rules of the other family need not be compiled
        }
        let before = Side::new(family, question.before, question.natives);
        let after = Side::new(family, question.after, question.natives);
        for session in of_family {
            let passages = Moment::ALL.map(|moment| {
                let probe = probe(session, moment, question.tracked);
                let now = before.explain(&probe, question.facts);
                let then = after.explain(&probe, question.facts);
                Passage {
                    moment,
                    standing: then.verdict.into(),
                    before: now.verdict.into(),
                    why: after.why(&then),
                }
            });
            reports.push(Report {
                session: session.clone(),
                passages: passages.to_vec(),
            });
        }
    }
    reports
}

fn family_of(session: &Session) -> Family {
    if session.peer.is_ipv6() {
        Family::V6
    } else {
        Family::V4
    }
}

/// The rulesets of one family with their program.
struct Side<'a> {
    rulesets: Vec<&'a Ruleset>,
    program: Program,
}

impl<'a> Side<'a> {
    fn new(family: Family, all: &[Marked<'a>], natives: &[BaseChain]) -> Self {
        let of_family = |one: &&Marked<'_>| one.ruleset.family() == family;
        let marked: Vec<Marked<'a>> = all.iter().filter(of_family).copied().collect();
        let program = Program::compile_marked(family, &marked, natives);
        let rulesets = marked.iter().map(|one| one.ruleset).collect();
        Self { rulesets, program }
    }

    fn explain(&self, probe: &Probe, facts: &Facts) -> Explanation {
        self.program.explain(probe, facts, &self.rulesets)
    }

    fn why(&self, explanation: &Explanation) -> String {
        if explanation.verdict == Verdict::Unknown {
            return explanation.unknown.join("; ");
        }
        explanation.by.map_or_else(
            || "no rule stands in the way".to_owned(),
            |by| explanation.decider(by, &self.rulesets),
        )
    }
}

/// A packet of a session.
fn probe(session: &Session, moment: Moment, tracked: bool) -> Probe {
    let (peer, local) = (session.peer, session.local);
    let incoming = matches!(moment, Moment::StandingIn | Moment::FreshIn);
    let path = if incoming { Path::Input } else { Path::Output };
    let fresh = matches!(moment, Moment::FreshIn | Moment::FreshOut);
    let mut probe = Probe::new(family_of(session), path);
    probe.proto = Some(session.proto);
    // Another login comes from a port that nobody knows yet.
    let far = (!fresh).then_some(peer.port());
    if incoming {
        probe.input = session.interface;
        (probe.src, probe.sport) = (Some(peer.ip()), far);
        (probe.dst, probe.dport) = (Some(local.ip()), Some(local.port()));
    } else {
        probe.output = session.interface;
        (probe.src, probe.sport) = (Some(local.ip()), Some(local.port()));
        (probe.dst, probe.dport) = (Some(peer.ip()), far);
    }
    let (state, flags) = match moment {
        Moment::StandingIn if !tracked => (CtState::New, TcpFlags::ACK),
        Moment::StandingIn | Moment::StandingOut => (CtState::Established, TcpFlags::ACK),
        Moment::FreshIn => (CtState::New, TcpFlags::SYN),
        Moment::FreshOut => (CtState::Established, TcpFlags::SYN | TcpFlags::ACK),
    };
    probe.ctstate = Some(state);
    probe.tcp_flags = Some(flags);
    probe.connection = Connection {
        reply: Some(!incoming),
        src: Some(peer.ip()),
        dst: Some(local.ip()),
        sport: far,
        dport: Some(local.port()),
        mark: None,
    };
    probe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{IfName, Process, Protocol, Seen};
    use crate::ruleset::{Document, Hints, Lossy, NftFamily};

    fn session(peer: &str, local: &str) -> Session {
        Session {
            proto: Protocol::TCP,
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
            interface: IfName::new(b"eth0"),
            process: Process {
                pid: 812,
                name: "sshd-session".to_owned(),
            },
            seen: Seen::Socket,
            through: Vec::new(),
        }
    }

    const V4: (&str, &str) = ("198.51.100.20:52044", "10.0.0.5:22");
    const V6: (&str, &str) = ("[2001:db8::20]:52044", "[2001:db8::5]:22");

    fn filter(rules: &str) -> String {
        format!(
            "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n"
        )
    }

    fn judge_with(
        ends: (&str, &str),
        family: Family,
        (before, after): (&str, &str),
        natives: &[BaseChain],
        tracked: bool,
    ) -> Report {
        let read = |text: &str| {
            let hints = Hints {
                family: Some(family),
                ..Hints::default()
            };
            Document::parse(text.as_bytes().to_vec(), hints).unwrap()
        };
        let (before, after) = (read(before), read(after));
        let before: Vec<Marked<'_>> = before.rulesets().iter().map(Marked::from).collect();
        let after: Vec<Marked<'_>> = after.rulesets().iter().map(Marked::from).collect();
        let sessions = [session(ends.0, ends.1)];
        let mut reports = preflight(&Question {
            sessions: &sessions,
            before: &before,
            after: &after,
            natives,
            facts: &Facts::default(),
            tracked,
        });
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    fn judge(before: &str, after: &str) -> Report {
        judge_with(V4, Family::V4, (&filter(before), &filter(after)), &[], true)
    }

    const ESTABLISHED: &str = "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n";
    const SSH: &str = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n";

    #[test]
    fn each_way_to_stay_in_or_be_locked_out() {
        use Standing::{Accepted, Cut, Doubtful};
        let both = format!("{ESTABLISHED}{SSH}");
        for (after, connection, login, why) in [
            (both.clone(), Accepted, Accepted, ""),
            (SSH.to_owned(), Accepted, Accepted, ""),
            (String::new(), Cut, Cut, "filter INPUT policy"),
            // The established rule hides it: nobody can come back.
            (ESTABLISHED.to_owned(), Accepted, Cut, "filter INPUT policy"),
            (
                format!("-A INPUT -s 198.51.100.0/24 -j DROP\n{both}"),
                Cut,
                Cut,
                "filter INPUT rule 1: -s 198.51.100.0/24 -j DROP",
            ),
            (
                format!("-A INPUT -s 192.0.2.0/24 -j DROP\n{both}"),
                Accepted,
                Accepted,
                "",
            ),
            (
                format!("-A INPUT -i eth1 -j DROP\n{both}"),
                Accepted,
                Accepted,
                "",
            ),
            (
                format!(
                    "{ESTABLISHED}-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 3/min -j ACCEPT\n"
                ),
                Accepted,
                Doubtful,
                "limit",
            ),
            // What goes out is asked too.
            (
                format!("{both}-A OUTPUT -p tcp -m tcp --sport 22 -j REJECT\n"),
                Cut,
                Cut,
                "filter OUTPUT rule 1",
            ),
            (
                format!("{both}-A OUTPUT -d 198.51.100.20/32 -m conntrack --ctstate NEW -j DROP\n"),
                Accepted,
                Accepted,
                "",
            ),
        ] {
            let report = judge(&both, &after);
            assert_eq!(
                (report.connection(), report.login()),
                (connection, login),
                "{after}: {report:#?}"
            );
            assert_eq!(report.standing(), connection.max(login));
            let told = report.foremost().map_or("", |passage| passage.why.as_str());
            assert!(
                told.contains(why) && told.is_empty() == why.is_empty(),
                "{told} of {after}"
            );
            assert_eq!(
                report.worsened().next().is_some(),
                !why.is_empty(),
                "{after}"
            );
        }
    }

    #[test]
    fn other_tables_hooks_and_chains_are_on_the_way() {
        let ok = filter(&format!("{ESTABLISHED}{SSH}"));
        for table in [
            "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n",
            "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n-A INPUT -s 198.51.100.20/32 -j DROP\nCOMMIT\n",
            "*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j DROP\nCOMMIT\n",
        ] {
            let after = format!("{table}{ok}");
            let report = judge_with(V4, Family::V4, (&ok, &after), &[], true);
            assert_eq!(report.connection(), Standing::Cut, "{table}");
        }
        let native = |drops_by_default| BaseChain {
            family: NftFamily::Inet,
            table: "fw".to_owned(),
            chain: "in".to_owned(),
            kind: "filter".to_owned(),
            hook: "input",
            priority: 10,
            drops_by_default,
            devices: Vec::new(),
            rules: u32::from(!drops_by_default),
            read: None,
            owner: None,
            dormant: false,
        };
        let doubtful = judge_with(V4, Family::V4, (&ok, &ok), &[native(false)], true);
        assert_eq!(doubtful.standing(), Standing::Doubtful);
        assert_eq!(doubtful.worsened().count(), 0, "it was no better before");
        let cut = judge_with(V4, Family::V4, (&ok, &ok), &[native(true)], true);
        assert_eq!(cut.standing(), Standing::Cut);
    }

    #[test]
    fn each_family_has_its_own_rules() {
        let ok = filter(&format!("{ESTABLISHED}{SSH}"));
        let report = judge_with(V6, Family::V6, (&ok, &filter("")), &[], true);
        assert_eq!(report.standing(), Standing::Cut);
        // Rules of the other family say nothing about this one.
        let report = judge_with(V6, Family::V4, (&ok, &filter("")), &[], true);
        assert_eq!(report.standing(), Standing::Accepted);
    }

    #[test]
    fn a_connection_that_conntrack_has_not_seen_counts_as_new() {
        let after = filter(ESTABLISHED);
        let open = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let report = judge_with(V4, Family::V4, (open, &after), &[], false);
        assert_eq!(report.connection(), Standing::Cut, "{report:#?}");
        let report = judge_with(V4, Family::V4, (open, &after), &[], true);
        assert_eq!(report.connection(), Standing::Accepted);
    }

    /// `ip saddr @good accept` is saved as `-A INPUT -j ACCEPT`.
    #[test]
    fn a_rule_that_says_less_than_the_kernel_holds_accepts_nobody_for_certain() {
        let read = |rules: &str| {
            let bytes = filter(rules).into_bytes();
            Document::parse(bytes, Hints::default()).unwrap()
        };
        let wide = format!("{ESTABLISHED}-A INPUT -j ACCEPT\n");
        let before = read(&wide);
        // A new chain comes before it in the text.
        let after = read(&format!(":AAA - [0:0]\n-A AAA -j DROP\n{wide}"));
        let ruleset = &before.rulesets()[0];
        for (does_more, told) in [(false, "a set decides"), (true, "does more")] {
            let lossy = [Lossy {
                chain: ruleset.find_chain("filter", "INPUT").unwrap(),
                position: 1,
                why: "a set decides".to_owned(),
                does_more,
            }];
            let before = Marked {
                ruleset,
                lossy: &lossy,
            };
            let lossy = before.carried(&after.rulesets()[0]);
            let after = Marked {
                ruleset: &after.rulesets()[0],
                lossy: &lossy,
            };
            let reports = preflight(&Question {
                sessions: &[session(V4.0, V4.1)],
                before: &[before],
                after: &[after],
                natives: &[],
                facts: &Facts::default(),
                tracked: true,
            });
            let report = &reports[0];
            assert_eq!(report.connection(), Standing::Accepted, "{report:#?}");
            assert_eq!(report.login(), Standing::Doubtful, "{report:#?}");
            assert_eq!(report.worsened().count(), 0, "it was no better before");
            let why = &report.foremost().unwrap().why;
            let place = "filter INPUT rule 2";
            assert!(why.contains(place) && why.contains(told), "{why}");
        }
    }
}
