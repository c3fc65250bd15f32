//! Fixes of small rulesets: what is offered, in which order, and what it opens.

use super::*;
use crate::edit::Mark;
use crate::ruleset::{Document, Hints};

fn stages(text: &str) -> Vec<Stage> {
    let document = Document::parse(text.as_bytes().to_vec(), Hints::default()).unwrap();
    let rulesets = document.into_rulesets();
    rulesets
        .into_iter()
        .map(|ruleset| Stage::new(Arc::new(ruleset)))
        .collect()
}

/// Each fix: its kind, the rules that are added or moved with their new number, and what it lets through.
fn told(dump: &str, packet: &str) -> Vec<String> {
    let stages = stages(dump);
    let probe = Probe::from_json(packet.as_bytes()).unwrap();
    let found = fixes(&stages, &[], &[], &probe, &Facts::default());
    found
        .iter()
        .map(|fix| {
            let mut stages = stages.clone();
            for step in &fix.steps {
                carry_out(&mut stages, step).unwrap();
            }
            assert!(fix.alteration.is_complete());
            let mut rows = Vec::new();
            for stage in &stages {
                let shown = stage.shown();
                for (row, rule) in shown.rows.iter().zip(shown.ruleset.rules()) {
                    let line = String::from_utf8_lossy(shown.ruleset.line(rule)).into_owned();
                    match row.mark {
                        Mark::Same => {}
                        Mark::Deleted => rows.push(format!("gone {line}")),
                        _ => rows.push(format!("{} {line}", row.number.unwrap())),
                    }
                }
            }
            let opened = fix
                .alteration
                .ways
                .iter()
                .flat_map(|way| way.newly_accepted.lines());
            let opened: Vec<String> = opened.map(ToString::to_string).collect();
            format!(
                "{:?}: {} => {}",
                fix.kind,
                rows.join("; "),
                opened.join("; ")
            )
        })
        .collect()
}

const TCP: &str = r#"{"proto":"tcp","src":"203.0.113.9","sport":40000,"dst":"192.0.2.1","dport":443,"tcp_flags":["SYN"],"ctstate":"NEW","in":"eth0"}"#;

fn filter(rules: &str) -> String {
    format!(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:a - [0:0]\n{rules}COMMIT\n"
    )
}

/// The same where what is established has its accept, as the first rule of INPUT.
fn stateful(rules: &str) -> String {
    filter(&format!(
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n{rules}"
    ))
}

#[test]
fn an_accept_that_stands_too_low_is_moved() {
    let dump = stateful(
        "-A INPUT -s 203.0.113.0/24 -j DROP\n-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n",
    );
    assert_eq!(
        told(&dump, TCP),
        [
            "AcceptSource: 2 -A INPUT -s 203.0.113.9/32 -d 192.0.2.1/32 -i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT => tcp 203.0.113.9 -> 192.0.2.1:443 on eth0, new",
            "AcceptAll: 2 -A INPUT -i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT => tcp 203.0.113.0/24 -> :443 on eth0, new",
            "MoveAccept: 2 -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT => tcp 203.0.113.0/24 -> :443, new/invalid/untracked",
            "Delete: gone -A INPUT -s 203.0.113.0/24 -j DROP => tcp 203.0.113.0/24 -> :443, new/invalid/untracked",
        ]
    );
}

/// Each fix of a packet: its kind and its rules.
fn rules_of(dump: &str, packet: &str) -> Vec<String> {
    let cut = |fix: String| fix.split_once(" => ").unwrap().0.to_owned();
    told(dump, packet).into_iter().map(cut).collect()
}

const ONE: &str = "-s 203.0.113.9/32 -d 192.0.2.1/32 -i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW";
const ANY: &str = "-i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW";

/// Below the log it would be told of as dropped; in a chain that only drops it would be a surprise to the
/// others that call it.
#[test]
fn an_accept_goes_above_the_log_and_before_the_call_of_what_only_drops() {
    let log =
        "-A INPUT -p udp -j LOG\n-A INPUT -p tcp -j LOG\n-A INPUT -m limit --limit 1/sec -j LOG\n";
    let own = [
        format!("AcceptSource: 3 -A INPUT {ONE} -j ACCEPT"),
        format!("AcceptAll: 3 -A INPUT {ANY} -j ACCEPT"),
    ];
    assert_eq!(rules_of(&stateful(log), TCP), own, "the policy drops");
    let dump = stateful(&format!("{log}-A INPUT -j DROP\n"));
    assert_eq!(rules_of(&dump, TCP), own);
    let called = "-A INPUT -p udp -j ACCEPT\n-A INPUT -j a\n-A a -j LOG\n-A a -j DROP\n";
    assert_eq!(rules_of(&stateful(called), TCP), own);
    // A list of what is blocked has more to say than that.
    let list = "-A INPUT -j a\n-A INPUT -i eth0 -j ACCEPT\n-A a -s 10.0.0.0/8 -j DROP\n-A a -s 203.0.113.0/24 -j DROP\n";
    assert_eq!(
        rules_of(&stateful(list), TCP),
        [
            format!("AcceptSource: 2 -A a {ONE} -j RETURN"),
            format!("AcceptAll: 2 -A a {ANY} -j RETURN"),
            "Delete: gone -A a -s 203.0.113.0/24 -j DROP".to_owned(),
            "MoveAccept: 2 -A INPUT -i eth0 -j ACCEPT".to_owned(),
        ]
    );
    // Where the caller stops it too, or others would be stopped, only an accept helps.
    let stopped = list.replace("-A INPUT -i eth0 -j ACCEPT\n", "");
    assert_eq!(
        rules_of(&stateful(&stopped), TCP),
        [
            format!("AcceptSource: 2 -A a {ONE} -j ACCEPT"),
            format!("AcceptAll: 2 -A a {ANY} -j ACCEPT"),
        ]
    );
    let others = stateful(
        "-A INPUT -j a\n-A INPUT -s 203.0.113.9 -j ACCEPT\n-A a -s 203.0.113.9 -j DROP\n-A a -j ACCEPT\n",
    );
    assert!(
        rules_of(&others, TCP).contains(&format!("AcceptAll: 1 -A a {ANY} -j ACCEPT")),
        "{:#?}",
        rules_of(&others, TCP)
    );
}

/// Whoever keeps that chain looks for its rule there, and its callers ask for more than the rule does.
#[test]
fn an_accept_of_another_chain_stays_there() {
    let dump = filter("-A INPUT -s 203.0.113.0/24 -j DROP\n-A INPUT -p tcp -j a\n-A a -j ACCEPT\n");
    let kinds = rules_of(&dump, TCP);
    assert!(
        kinds.iter().all(|fix| !fix.starts_with("MoveAccept")),
        "{kinds:#?}"
    );
}

#[test]
fn a_limit_that_is_left_is_told_of() {
    let stages = stages(&filter(
        "-A INPUT -s 203.0.113.0/24 -j DROP\n-A INPUT -m limit --limit 5/sec -j ACCEPT\n",
    ));
    let probe = Probe::from_json(TCP.as_bytes()).unwrap();
    let found = fixes(&stages, &[], &[], &probe, &Facts::default());
    let of = |kind| found.iter().find(|fix| fix.kind == kind).unwrap();
    assert_eq!(of(Kind::AcceptAll).limits, [""; 0]);
    let limits = &of(Kind::Delete).limits;
    assert!(limits[0].starts_with("limit 5/sec"), "{limits:?}");
    // Not known for other reasons is no way out.
    let unclear = filter(
        "-A INPUT -s 203.0.113.0/24 -j DROP\n-A INPUT -m recent --name x --rcheck -j ACCEPT\n",
    );
    let kinds = rules_of(&unclear, TCP);
    assert!(
        kinds.iter().all(|fix| !fix.starts_with("Delete")),
        "{kinds:#?}"
    );
}

#[test]
fn a_full_table_is_passed_by_untracked_packets_where_rules_let_them() {
    let words = |dump: &str, packet: &str| -> Vec<String> {
        let stages = stages(dump);
        let probe = Probe::from_json(packet.as_bytes()).unwrap();
        let fix = untracked(&stages, &[], &[], &probe, &Facts::default());
        let steps = fix.map(|fix| fix.steps).unwrap_or_default();
        let told = |step: &FixStep| match &step.operation {
            Operation::Insert { at, spec } => format!(
                "{} {}",
                String::from_utf8_lossy(&at.chain),
                String::from_utf8_lossy(spec)
            ),
            other => panic!("{other:?}"),
        };
        steps.iter().map(told).collect()
    };
    let both = [
        "PREROUTING -i eth0 -p tcp -m tcp --dport 443 -j CT --notrack",
        "OUTPUT -o eth0 -p tcp -m tcp --sport 443 -j CT --notrack",
    ];
    let open = filter("-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n");
    assert_eq!(words(&open, TCP), both);
    let raw = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -i lo -j CT --notrack\nCOMMIT\n";
    assert_eq!(words(&format!("{raw}{open}"), TCP), both);
    let ping =
        r#"{"proto":"icmp","icmp_type":8,"ctstate":"NEW","src":"203.0.113.9","dst":"192.0.2.1"}"#;
    for (why, dump, packet) in [
        ("it is stopped", filter(""), TCP),
        ("its state is asked for", filter("-A INPUT -p tcp -m conntrack --ctstate NEW -j ACCEPT\n"), TCP),
        ("later packets are stopped", filter("-A INPUT -p tcp -m tcp --syn -j ACCEPT\n"), TCP),
        ("answers are stopped", open.replace("OUTPUT ACCEPT", "OUTPUT DROP"), TCP),
        ("a rule of raw is done with it", raw.replace("-i lo -j CT --notrack", "-j ACCEPT") + &open, TCP),
        ("no port", filter("-A INPUT -j ACCEPT\n"), ping),
        (
            "it is translated",
            "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j REDIRECT --to-ports 443\nCOMMIT\n".to_owned() + &open,
            TCP,
        ),
    ] {
        assert_eq!(words(&dump, packet), [""; 0], "{why}");
    }
}

#[test]
fn a_call_is_gone_before() {
    let dump = filter(
        "-A INPUT -i eth0 -j a\n-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n-A a -j DROP\n",
    );
    let told = told(&dump, TCP);
    assert!(told.contains(&"MoveAccept: 1 -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT => tcp any -> :443 on eth0".to_owned()), "{told:#?}");
    assert!(
        told.iter()
            .any(|fix| fix.starts_with("AcceptAll: 1 -A INPUT ")),
        "{told:#?}"
    );
}

#[test]
fn the_end_of_a_chain_is_before_its_policy() {
    let told = told(&stateful("-A INPUT -i lo -j ACCEPT\n"), TCP);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[1].starts_with("AcceptAll: 3 -A INPUT -i eth0 -p tcp"),
        "{told:#?}"
    );
}

#[test]
fn answers_have_their_own_rule() {
    let answer = r#"{"proto":"tcp","src":"203.0.113.9","sport":443,"dst":"192.0.2.1","dport":40000,"tcp_flags":["ACK"],"ctstate":"ESTABLISHED","in":"eth0"}"#;
    let told = told(&filter("-A INPUT -p tcp -j REJECT\n"), answer);
    let answers = "AcceptAnswers: 1 -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT => any protocol any -> any, related/established";
    assert!(told.contains(&answers.to_owned()), "{told:#?}");
}

#[test]
fn a_dnat_gets_its_forward_both_ways() {
    let dump = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        -A PREROUTING -i eth0 -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.0.0.5:8443\nCOMMIT\n"
        .to_owned() + &filter("");
    let packet = TCP.replace("\"in\":\"eth0\"", "\"in\":\"eth0\",\"out\":\"br0\"");
    let stages = stages(&dump);
    let probe = Probe::from_json(packet.as_bytes()).unwrap();
    let found = fixes(&stages, &[], &[], &probe, &Facts::default());
    let forward = found.iter().find(|fix| fix.kind == Kind::Forward).unwrap();
    assert_eq!(forward.steps.len(), 2);
    let one_way = found
        .iter()
        .find(|fix| fix.kind == Kind::AcceptSource)
        .unwrap();
    assert_eq!(one_way.steps.len(), 2, "the answers have a rule too");
    let Operation::Insert { spec, .. } = &one_way.steps[0].operation else {
        panic!("{one_way:?}");
    };
    assert_eq!(
        String::from_utf8_lossy(spec),
        "-s 203.0.113.9/32 -d 10.0.0.5/32 -i eth0 -o br0 -p tcp -m tcp --dport 8443 -m conntrack --ctstate NEW -j ACCEPT"
    );
}

#[test]
fn two_tables_that_stop_it_are_both_opened() {
    let dump =
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 203.0.113.9/32 -j DROP\nCOMMIT\n"
            .to_owned()
            + &filter("");
    let told = told(&dump, TCP);
    assert!(
        told.iter()
            .any(|fix| fix.contains("-A PREROUTING") && fix.contains("-A INPUT")),
        "{told:#?}"
    );
}

#[test]
fn what_is_let_through_needs_no_fix_and_hostile_names_are_not_said() {
    assert_eq!(told(&filter("-A INPUT -j ACCEPT\n"), TCP), [""; 0]);
    let packet = TCP.replace("eth0", "e+");
    for fix in told(&filter(""), &packet) {
        assert!(!fix.contains("-i e"), "{fix}");
    }
    let native = r#"{"family":4,"in":"eth0"}"#;
    for fix in told(
        &filter("-A INPUT -m limit --limit 1/sec -j ACCEPT\n"),
        native,
    ) {
        assert!(fix.contains("=>"), "{fix}");
    }
}

#[test]
fn what_was_seen_is_counted_by_how_it_fares() {
    let (before, after) = (
        stages(&filter("-A INPUT -p udp -j ACCEPT\n")),
        stages(&filter("-A INPUT -p tcp -j ACCEPT\n")),
    );
    let packets: Vec<Probe> = [
        TCP,
        &TCP.replace("tcp\"", "udp\""),
        r#"{"proto":"icmp"}"#,
        "{}",
        r#"{"src":"::1"}"#,
    ]
    .iter()
    .map(|text| Probe::from_json(text.as_bytes()).unwrap())
    .collect();
    let (before, after) = (before[0].staged(), after[0].staged());
    let (old, new) = ([&*before], [&*after]);
    let family = crate::ruleset::Family::V4;
    let programs = (
        Program::compile(family, &old),
        Program::compile(family, &new),
    );
    let side = |program, rulesets| Side { program, rulesets };
    let (old, new) = (side(&programs.0, &old), side(&programs.1, &new));
    let counted = what_if(
        old,
        new,
        &crate::verdict::change(old, new, &Facts::default()),
        &packets,
        &Facts::default(),
    );
    assert_eq!(
        counted,
        WhatIf {
            packets: 4,
            newly_accepted: 1,
            newly_cut: 1,
            // Of the packet of no protocol it cannot be told, before nor after.
            not_certain: 1
        }
    );
}

#[test]
fn no_way_out_rests_on_a_rule_that_says_less_than_the_kernel_holds() {
    let probe = Probe::from_json(TCP.as_bytes()).unwrap();
    // The one that decides may go; then it is for a rule whose text accepts, or has a limit as all that it asks.
    for accepts in ["-j ACCEPT", "-p tcp -m limit --limit 5/sec -j ACCEPT"] {
        let text = format!(
            "*mangle\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j DROP\nCOMMIT\n{}",
            filter(&format!("-A INPUT {accepts}\n"))
        );
        let offered = |doubted: bool| -> usize {
            let mut stages = stages(&text);
            let kernel = Arc::clone(stages[0].base());
            let lossy: Vec<Lossy> = doubted
                .then(|| Lossy {
                    chain: kernel.find_chain("filter", "INPUT").unwrap(),
                    position: 0,
                    why: "a set or map decides, and the text leaves it out".to_owned(),
                    does_more: false,
                })
                .into_iter()
                .collect();
            stages = vec![stages.remove(0).locked(&lossy)];
            let marked = [Marked {
                ruleset: &kernel,
                lossy: &lossy,
            }];
            fixes(&stages, &marked, &[], &probe, &Facts::default()).len()
        };
        assert!(offered(false) > 0, "{accepts}");
        assert_eq!(offered(true), 0, "{accepts}");
    }
}

/// The steps of a fix, in words: chain and rule.
fn steps_of(fix: &Fix) -> Vec<String> {
    let said = |step: &FixStep| match &step.operation {
        Operation::Insert { at, spec } => format!(
            "{} {} {}",
            String::from_utf8_lossy(&at.table),
            String::from_utf8_lossy(&at.chain),
            String::from_utf8_lossy(spec)
        ),
        Operation::Delete { .. } => "delete".to_owned(),
        Operation::Move { .. } => "move".to_owned(),
        other => panic!("{other:?}"),
    };
    fix.steps.iter().map(said).collect()
}

#[test]
fn what_a_connection_needs_beside_its_first_packet_is_part_of_the_fix() {
    const EST: &str = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
    let closed = filter("").replace("OUTPUT ACCEPT", "OUTPUT DROP");
    let accepts = "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n";
    let raw = |chain: &str, rule: &str| {
        format!("*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A {chain} {rule}\nCOMMIT\n")
    };
    let any = format!("filter INPUT {ANY} -j ACCEPT");
    let plain = any.replace(" -m conntrack --ctstate NEW", "");
    let (inside, out) = (
        format!("filter INPUT {EST}"),
        format!("filter OUTPUT {EST}"),
    );
    let sport = "raw OUTPUT -o eth0 -p tcp -m tcp --sport 443 -j ACCEPT".to_owned();
    for (dump, kind, steps) in [
        (
            filter(""),
            Kind::AcceptAll,
            vec![any.clone(), inside.clone()],
        ),
        (
            closed.clone(),
            Kind::AcceptAll,
            vec![any, out.clone(), inside.clone()],
        ),
        (
            stateful("").replace("OUTPUT ACCEPT", "OUTPUT DROP"),
            Kind::AcceptAll,
            vec![format!("filter INPUT {ANY} -j ACCEPT"), out.clone()],
        ),
        // The first packet is let through already.
        (
            closed.replace("COMMIT", &format!("{accepts}COMMIT")),
            Kind::AcceptAnswers,
            vec![out],
        ),
        (
            filter("-A INPUT -m conntrack --ctstate NEW -j ACCEPT\n"),
            Kind::AcceptAnswers,
            vec![inside],
        ),
        // Conntrack is not asked yet.
        (
            raw("OUTPUT", "-p tcp -m tcp --sport 443 -j DROP") + &filter(accepts),
            Kind::AcceptAll,
            vec![sport],
        ),
        // Nor of packets that it was told to leave alone: their rule is for all of them.
        (
            raw("PREROUTING", "-p tcp -m tcp --dport 443 -j CT --notrack") + &stateful(""),
            Kind::AcceptAll,
            vec![plain],
        ),
    ] {
        let stages = stages(&dump);
        let probe = Probe::from_json(TCP.as_bytes()).unwrap();
        let found = fixes(&stages, &[], &[], &probe, &Facts::default());
        let fix = found.iter().find(|fix| fix.kind == kind);
        assert_eq!(fix.map(steps_of), Some(steps), "{dump}");
    }
    // Nothing helps where a native chain stops the answer: half of a connection is no way out.
    let native = BaseChain {
        family: crate::ruleset::NftFamily::Ip,
        table: "fw".to_owned(),
        chain: "out".to_owned(),
        kind: "filter".to_owned(),
        hook: "output",
        priority: 0,
        drops_by_default: true,
        devices: Vec::new(),
        rules: 0,
        read: None,
        owner: None,
        dormant: false,
    };
    let probe = Probe::from_json(TCP.as_bytes()).unwrap();
    let found = fixes(
        &stages(&filter("")),
        &[],
        &[native],
        &probe,
        &Facts::default(),
    );
    assert!(found.is_empty(), "{found:?}");
}
