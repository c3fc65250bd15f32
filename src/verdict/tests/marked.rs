//! Rules whose text is known to say less than the kernel holds: what is still certain beside them.

use super::*;
use crate::ruleset::{Family, Lossy, Marked};
use crate::verdict::{Alteration, Dead, Path, Side, change, read_words};

/// A dump with chains of its own, and marks by chain of filter and rule number.
struct Box {
    document: Document,
    lossy: Vec<Lossy>,
}

impl Box {
    fn new(dump: &str, marks: &[(&str, usize, bool)]) -> Self {
        let document = Document::parse(dump.as_bytes().to_vec(), Hints::default()).unwrap();
        let ruleset = &document.rulesets()[0];
        let mark = |(chain, number, does_more): &(&str, usize, bool)| Lossy {
            chain: ruleset.find_chain("filter", chain).unwrap(),
            position: number - 1,
            why: "a set decides".to_owned(),
            does_more: *does_more,
        };
        let lossy = marks.iter().map(mark).collect();
        Self { document, lossy }
    }

    fn rulesets(&self) -> Vec<&Ruleset> {
        self.document.rulesets().iter().collect()
    }

    fn program(&self) -> Program {
        let marked = Marked {
            ruleset: &self.document.rulesets()[0],
            lossy: &self.lossy,
        };
        Program::compile_marked(Family::V4, &[marked], &[])
    }

    fn explain(&self, words: &str) -> Explanation {
        let probe = read_words(words).unwrap();
        let program = self.program();
        program.explain(&probe, &Facts::default(), &self.rulesets())
    }

    /// Rules that no packet can match, and the reason.
    fn dead(&self) -> Vec<(String, Dead)> {
        let rulesets = self.rulesets();
        let found = self.program().shadows(&rulesets).found;
        let named = |shadow: &crate::verdict::Shadow| {
            let rule = shadow.rule.rule.unwrap();
            let chain = rulesets[0].chain(shadow.rule.chain).name();
            (
                format!("{chain} {}", rulesets[0].number(rule)),
                shadow.why.clone(),
            )
        };
        found.iter().map(named).collect()
    }

    fn dead_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.dead().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    fn changed_to(&self, after: &Self) -> Alteration {
        let (old, new) = (self.program(), after.program());
        let (before, after) = (self.rulesets(), after.rulesets());
        let side = |program, rulesets| Side { program, rulesets };
        change(side(&old, &before), side(&new, &after), &Facts::default())
    }
}

/// A rule whose text is known to leave something out is matched as unknown, and no other.
#[test]
fn a_rule_that_says_less_than_the_kernel_holds_is_not_known() {
    // The second mark stands at no rule: of a ruleset that has changed since.
    let dump = input("-A INPUT -p udp -j DROP\n-A INPUT -p tcp -j DROP\n-A INPUT -j ACCEPT");
    let marked = Box::new(&dump, &[("INPUT", 1, false), ("INPUT", 4, true)]);
    for (proto, verdict) in [
        ("udp", Verdict::Unknown),
        ("tcp", Verdict::Drop),
        ("icmp", Verdict::Unknown),
    ] {
        let explanation = marked.explain(&format!("{proto} in eth0"));
        assert_eq!(explanation.verdict, verdict, "{proto}");
        if verdict == Verdict::Unknown {
            let why = explanation.unknown.join("; ");
            assert!(why.contains("filter INPUT rule 1: a set decides"), "{why}");
        }
    }
    // Whether it matches is not known, but where it makes no difference the verdict is.
    let accepted = input("-A INPUT -j ACCEPT\n-A INPUT -p tcp -j ACCEPT");
    let marked = Box::new(&accepted, &[("INPUT", 1, false)]);
    assert_eq!(marked.explain("tcp in eth0").verdict, Verdict::Accept);
}

#[test]
fn what_a_rule_does_beside_its_text_is_not_known_either() {
    // A map of verdicts is printed as a rule that does nothing, and one with a mark as one that accepts.
    for rule in ["-A INPUT", "-A INPUT -j ACCEPT"] {
        let dump = input(&format!("{rule}\n-A INPUT -j ACCEPT"));
        for (does_more, verdict) in [(false, Verdict::Accept), (true, Verdict::Unknown)] {
            let marked = Box::new(&dump, &[("INPUT", 1, does_more)]);
            let explanation = marked.explain("tcp in eth0");
            assert_eq!(explanation.verdict, verdict, "{rule} {does_more}");
            let why = explanation.unknown.join("; ");
            assert_eq!(why.contains("filter INPUT rule 1"), does_more, "{why}");
        }
    }
}

#[test]
fn nothing_is_said_to_be_accepted_further_down_by_it() {
    let dump = input("-A INPUT -p tcp -j DROP\n-A INPUT -j ACCEPT");
    let would = |marks| {
        let explanation = Box::new(&dump, marks).explain("tcp in eth0");
        assert_eq!(explanation.verdict, Verdict::Drop);
        explanation.would_accept
    };
    assert!(would(&[]).is_some());
    assert_eq!(would(&[("INPUT", 2, false)]), None);
}

#[test]
fn it_covers_no_later_rule_and_is_covered_itself() {
    let dump = input("-A INPUT -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\n-A INPUT -j ACCEPT");
    assert_eq!(Box::new(&dump, &[]).dead_names(), ["INPUT 2", "INPUT 3"]);
    // Two of the same words are two rules: none takes the packets of the other.
    let marked = Box::new(&dump, &[("INPUT", 1, false), ("INPUT", 3, false)]);
    assert_eq!(marked.dead_names(), Vec::<String>::new());
    // Everything is taken before it, so nothing is left for it, whatever it asks.
    let marked = Box::new(&dump, &[("INPUT", 3, true)]);
    assert_eq!(marked.dead_names(), ["INPUT 2", "INPUT 3"]);
    // What its text asks is no reason to call it dead: a range is printed as its last address.
    let narrow = input("-A INPUT -s 10.0.0.9/32 -j ACCEPT\n-A INPUT -s 10.0.0.9/32 -j DROP");
    assert_eq!(Box::new(&narrow, &[]).dead_names(), ["INPUT 2"]);
    let marked = Box::new(&narrow, &[("INPUT", 2, false)]);
    assert_eq!(marked.dead_names(), Vec::<String>::new());
}

#[test]
fn it_may_send_packets_to_any_chain_and_change_them() {
    let dump = input(
        "-N u\n-A INPUT\n-A INPUT -s 10.0.0.0/8 -j u\n-A u -s 192.168.0.0/16 -j ACCEPT\n\
         -A INPUT -m mark --mark 1 -j ACCEPT\n-A INPUT\n-A INPUT -m mark --mark 1 -j ACCEPT",
    );
    assert_eq!(Box::new(&dump, &[]).dead_names(), ["INPUT 5", "u 1"]);
    let marked = Box::new(&dump, &[("INPUT", 1, true)]);
    assert_eq!(marked.dead_names(), ["INPUT 5"]);
    let marked = Box::new(&dump, &[("INPUT", 4, true)]);
    assert_eq!(marked.dead_names(), Vec::<String>::new());
}

/// Rules stand in a locked chain; the change is made in another one.
const CHAINS: &str = "-N good\n-A INPUT NEW -j good\n-A good -j ACCEPT";

#[test]
fn what_a_change_cuts_depends_on_it() {
    let open = input(&CHAINS.replace(" NEW", ""));
    let closed = input(&CHAINS.replace("-A INPUT NEW", "-A INPUT -p tcp -j DROP\n-A INPUT"));
    let cut = |marks: &[(&str, usize, bool)]| {
        let done = Box::new(&open, marks).changed_to(&Box::new(&closed, marks));
        let way = done.ways.into_iter().find(|way| way.path() == Path::Input);
        let way = way.unwrap();
        let lines = way.newly_dropped.lines().iter();
        let lines: Vec<String> = lines.map(|line| line.when.join(" and ")).collect();
        assert!(!lines.is_empty());
        (lines, way.complete)
    };
    assert_eq!(cut(&[]), (vec![String::new()], true));
    let (when, complete) = cut(&[("good", 1, false)]);
    assert!(complete);
    assert!(
        when.iter().all(|when| when.contains("filter good rule 1")),
        "{when:?}"
    );
    let (when, complete) = cut(&[("good", 1, true)]);
    assert!(!complete, "it may do anything");
    assert!(
        when.iter().all(|when| when.contains("filter good rule 1")),
        "{when:?}"
    );
}

/// Two rules that leave out the same kind of thing are answered apart, and each the same before and after.
#[test]
fn each_asks_its_own_question() {
    let rules = "-N a\n-N b\n-A a -j ACCEPT\n-A b -j ACCEPT\n";
    let dump = |jump: &str| input(&format!("{rules}-A INPUT -j {jump}"));
    let marks = [("a", 1, false), ("b", 1, false)];
    let of = |jump| Box::new(&dump(jump), &marks);
    assert!(of("a").changed_to(&of("a")).is_nothing());
    let done = of("a").changed_to(&of("b"));
    assert!(
        !done.is_nothing(),
        "whom the one set holds the other may not"
    );
}

/// A native rule that iptables has no words for at all takes its whole table out of the dump.
#[test]
fn a_table_that_is_not_printed_may_do_anything() {
    let absent = "# Table `filter' is incompatible, use 'nft' tool.\n";
    let raw = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    for (dump, verdict) in [
        (raw.to_owned(), Verdict::Accept),
        (format!("{absent}{raw}"), Verdict::Unknown),
        (format!("{raw}{absent}"), Verdict::Unknown),
        // Of another table nothing depends on it that the raw table drops.
        (
            format!(
                "{absent}{}",
                raw.replace("COMMIT", "-A PREROUTING -j DROP\nCOMMIT")
            ),
            Verdict::Drop,
        ),
    ] {
        let explanation = Box::new(&dump, &[]).explain("tcp in eth0");
        assert_eq!(explanation.verdict, verdict, "{dump}");
        let why = explanation.unknown.join("; ");
        let named = why.contains("ip filter INPUT");
        assert_eq!(named, verdict == Verdict::Unknown, "{why}");
    }
}
