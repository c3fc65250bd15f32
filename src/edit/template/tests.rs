//! Templates against boxes of all kinds: what is added, where, and what is said.

use std::sync::Arc;

use super::*;
use crate::edit::Stage;
use crate::edit::form::complete::{Names, Service};
use crate::ruleset::{Backend, Family, Origin, Ruleset};

fn stage_of(family: Family, text: &str) -> Stage {
    let origin = Origin::new(family, Backend::Nft);
    Stage::new(Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap()))
}

/// A filter table with these policies and lines.
fn filter(policies: &str, lines: &[&str]) -> Stage {
    use std::fmt::Write;
    let mut text = String::from("*filter\n");
    for (chain, policy) in ["INPUT", "FORWARD", "OUTPUT"]
        .iter()
        .zip(policies.split(' '))
    {
        writeln!(text, ":{chain} {policy} [0:0]").unwrap();
    }
    for line in lines.iter().filter(|line| line.starts_with(':')) {
        writeln!(text, "{line} - [0:0]").unwrap();
    }
    for line in lines.iter().filter(|line| !line.starts_with(':')) {
        writeln!(text, "-A {line}").unwrap();
    }
    stage_of(Family::V4, &(text + "COMMIT\n"))
}

fn given(pairs: &[(&str, &str)]) -> Given {
    let pairs = pairs.iter();
    pairs
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn names() -> Names {
    let service = |name: &str, port, protocol: &str| Service {
        name: name.to_owned(),
        port,
        protocol: protocol.to_owned(),
    };
    Names {
        services: vec![
            service("https", 443, "tcp"),
            service("domain", 53, "tcp"),
            service("domain", 53, "udp"),
        ],
        ..Names::default()
    }
}

fn named(name: &str) -> &'static Template {
    shipped()
        .iter()
        .find(|template| template.name == name)
        .unwrap()
}

fn planned(name: &str, pairs: &[(&str, &str)], stage: &Stage) -> Plan {
    let template = named(name);
    let mut all = given(pairs);
    for field in &template.fields {
        all.entry(field.name.clone())
            .or_insert_with(|| field.default.clone());
    }
    plan(template, &all, stage, &names())
}

/// `filter INPUT 2 -p tcp …`, a step each.
fn steps(plan: &Plan) -> Vec<String> {
    let step = |step: &Step| {
        let spec = String::from_utf8_lossy(&step.spec);
        format!("{} {} {spec}", step.chain, step.number)
    };
    plan.steps.iter().map(step).collect()
}

const HTTPS: &str = "-p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT";
const ESTABLISHED: &str = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

#[test]
fn every_shipped_file_is_read() {
    assert_eq!(shipped().len(), SHIPPED.len());
    for template in shipped() {
        assert!(
            template.rules.is_empty() == template.arrange.is_some(),
            "{}",
            template.name
        );
    }
    assert_eq!(owner::rows().len(), 7);
}

#[test]
fn a_service_goes_before_what_drops_all_of_it() {
    let stage = filter(
        "DROP ACCEPT ACCEPT",
        &[
            "INPUT -i lo -j ACCEPT",
            "INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "INPUT -s 203.0.113.0/24 -j DROP",
            "INPUT -p tcp -m tcp --dport 443 -j DROP",
            "INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
        ],
    );
    let plan = planned("allow-service", &[("service", "443")], &stage);
    assert_eq!(steps(&plan), [format!("filter INPUT 4 {HTTPS}")]);
    let why = &plan.steps[0].why;
    assert!(
        why.contains("before rule 4 (-p tcp -m tcp --dport 443 -j DROP)"),
        "{why}"
    );
    assert_eq!(plan.remarks.len(), 1, "{:?}", plan.remarks);
    assert!(
        plan.remarks[0].contains("rule 3 (-s 203.0.113.0/24 -j DROP) of INPUT stays before it")
    );
    assert_eq!(
        plan.steps[0].sentence,
        "Accept new TCP connections to port 443"
    );
}

#[test]
fn what_is_missing_for_it_to_work_comes_along() {
    let stage = filter(
        "DROP DROP DROP",
        &["INPUT -p tcp -m tcp --dport 22 -j ACCEPT"],
    );
    let plan = planned(
        "allow-service",
        &[("service", "443"), ("source", "10.0.0.0/8")],
        &stage,
    );
    assert_eq!(
        steps(&plan),
        [
            format!("filter INPUT 3 -s 10.0.0.0/8 {HTTPS}"),
            format!("filter INPUT 1 {ESTABLISHED}"),
            format!("filter OUTPUT 1 {ESTABLISHED}"),
        ]
    );
    assert!(
        plan.steps[0]
            .why
            .ends_with("at the end, before the policy DROP")
    );
}

#[test]
fn what_is_there_is_not_added() {
    let stage = filter(
        "DROP ACCEPT ACCEPT",
        &[
            "INPUT -i lo -j ACCEPT",
            "INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT",
            "INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT",
        ],
    );
    for (name, pairs) in [
        ("allow-service", vec![("service", "443")]),
        ("loopback", vec![]),
        ("established", vec![]),
        ("allow-outbound", vec![("service", "80")]),
    ] {
        let plan = planned(name, &pairs, &stage);
        let new: Vec<String> = steps(&plan)
            .into_iter()
            .filter(|s| s.contains("INPUT"))
            .collect();
        assert!(new.is_empty(), "{name}: {new:?}");
        assert!(plan.lacks.is_empty());
    }
    let plan = planned("allow-service", &[("service", "443")], &stage);
    assert!(
        plan.remarks[0].contains("rule 3 of filter INPUT does it already"),
        "{:?}",
        plan.remarks
    );
}

#[test]
fn a_jump_into_a_chain_that_drops_everything_counts_as_a_drop() {
    let stage = filter(
        "ACCEPT ACCEPT ACCEPT",
        &[
            ":guard",
            ":count",
            "INPUT -j count",
            "INPUT -j guard",
            "guard -s 10.0.0.0/8 -j ACCEPT",
            "guard -j REJECT",
            "count -p tcp",
        ],
    );
    let plan = planned("allow-service", &[("service", "443")], &stage);
    assert_eq!(steps(&plan)[0], format!("filter INPUT 3 {HTTPS}"));
    assert!(
        plan.steps[0].why.contains("before rule 2 (-j guard)"),
        "{}",
        plan.steps[0].why
    );
}

#[test]
fn protocols_are_those_of_the_service() {
    let stage = filter("DROP ACCEPT ACCEPT", &[]);
    let specs = |pairs: &[(&str, &str)]| {
        let plan = planned("allow-service", pairs, &stage);
        let ports = plan
            .steps
            .iter()
            .filter(|step| step.sentence.contains("port"));
        ports.map(|step| step.sentence.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        specs(&[("service", "domain")]),
        [
            "Accept new TCP connections to port 53",
            "Accept new UDP connections to port 53"
        ]
    );
    assert_eq!(
        specs(&[("service", "80,443"), ("protocol", "udp")]),
        ["Accept new UDP connections to port 80 or 443"]
    );
    assert_eq!(
        specs(&[("service", "8000:8010")]),
        ["Accept new TCP connections to port 8000 to 8010"]
    );
    let wrong = planned("allow-service", &[("service", "nosuch")], &stage);
    assert!(
        wrong
            .steps
            .iter()
            .all(|step| !step.sentence.contains("port"))
    );
    assert!(
        wrong.lacks[0].contains("expected a port"),
        "{:?}",
        wrong.lacks
    );
    let empty = planned("allow-service", &[], &stage);
    assert_eq!(empty.lacks, ["service is needed"]);
}

#[test]
fn programs_that_own_a_chain_are_named_and_respected() {
    let ufw = filter(
        "DROP DROP ACCEPT",
        &[
            ":ufw-before-input",
            ":ufw-user-input",
            "INPUT -j ufw-before-input",
            "ufw-before-input -i lo -j ACCEPT",
            "ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "ufw-before-input -j ufw-user-input",
            "ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT",
        ],
    );
    let plan = planned("allow-service", &[("service", "443")], &ufw);
    assert_eq!(steps(&plan), [format!("filter ufw-user-input 2 {HTTPS}")]);
    assert!(
        plan.remarks[0].contains("ufw owns INPUT"),
        "{:?}",
        plan.remarks
    );

    let docker = filter(
        "ACCEPT DROP ACCEPT",
        &[
            ":DOCKER-USER",
            "FORWARD -j DOCKER-USER",
            "DOCKER-USER -j RETURN",
        ],
    );
    let pairs = [("port", "8080"), ("to", "10.0.0.5"), ("to-port", "80")];
    let plan = planned("port-forward", &pairs, &docker);
    assert_eq!(
        steps(&plan),
        [
            "nat PREROUTING 1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.5:80".to_owned(),
            "filter DOCKER-USER 1 -d 10.0.0.5 -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT"
                .to_owned(),
            format!("filter FORWARD 1 {ESTABLISHED}"),
        ]
    );
}

#[test]
fn logs_stand_before_the_last_drop() {
    let log = "-m limit --limit 5/min --limit-burst 10 -j LOG --log-prefix \"dropped: \"";
    let with_rule = filter(
        "ACCEPT ACCEPT ACCEPT",
        &["INPUT -i lo -j ACCEPT", "INPUT -j REJECT"],
    );
    let plan = planned("log-drops", &[], &with_rule);
    assert_eq!(steps(&plan), [format!("filter INPUT 2 {log}")]);
    let with_policy = filter("DROP ACCEPT ACCEPT", &["INPUT -i lo -j ACCEPT"]);
    assert_eq!(
        steps(&planned("log-drops", &[], &with_policy)),
        [format!("filter INPUT 2 {log}")]
    );
    let open = filter("ACCEPT ACCEPT ACCEPT", &[]);
    let plan = planned("log-drops", &[], &open);
    assert!(
        plan.steps.is_empty() && plan.remarks[0].contains("nothing is dropped"),
        "{plan:?}"
    );
}

#[test]
fn the_first_rules_have_an_order() {
    let stage = filter(
        "DROP ACCEPT ACCEPT",
        &["INPUT -i lo -j ACCEPT", "INPUT -p tcp -j ACCEPT"],
    );
    let plan = planned("drop-invalid", &[], &stage);
    assert_eq!(
        steps(&plan),
        ["filter INPUT 2 -m conntrack --ctstate INVALID -j DROP"]
    );
    let plan = planned("established", &[], &stage);
    assert_eq!(steps(&plan)[0], format!("filter INPUT 2 {ESTABLISHED}"));
}

#[test]
fn ipv6_gets_what_it_needs() {
    let stage = stage_of(
        Family::V6,
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n",
    );
    let plan = planned("icmp", &[], &stage);
    for kind in [2, 133, 134, 135, 136] {
        let wanted = format!("--icmpv6-type {kind} ");
        assert!(
            steps(&plan).iter().any(|step| step.contains(&wanted)),
            "{kind}"
        );
    }
    assert!(
        plan.steps.iter().all(|step| step.number < 10),
        "before the drop"
    );
    let pairs = [("port", "8080"), ("to", "fd00::5"), ("to-port", "80")];
    let plan = planned("port-forward", &pairs, &stage);
    assert!(
        steps(&plan)[0].ends_with("--to-destination [fd00::5]:80"),
        "{:?}",
        steps(&plan)
    );
}

#[test]
fn the_recommended_order_moves_what_is_there() {
    let stage = filter(
        "ACCEPT ACCEPT ACCEPT",
        &[
            "INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            "INPUT -m limit --limit 5/min -j LOG",
            "INPUT -j DROP",
            "INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "INPUT -p tcp -m tcp --dport 80 -j ACCEPT",
            "INPUT -i lo -j ACCEPT",
        ],
    );
    let plan = planned("recommended-order", &[], &stage);
    let mut staged = stage.clone();
    for step in &plan.steps {
        staged.carry_out(step.operation.clone()).unwrap();
    }
    let set = staged.staged();
    let chain = set.find_chain("filter", "INPUT").unwrap();
    let rules: Vec<String> = set
        .chain(chain)
        .rules()
        .iter()
        .map(|rule| String::from_utf8_lossy(set.spec(*rule)).into_owned())
        .collect();
    assert_eq!(
        rules,
        [
            "-i lo -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-p tcp -m tcp --dport 22 -j ACCEPT",
            "-p tcp -m tcp --dport 80 -j ACCEPT",
            "-m limit --limit 5/min -j LOG",
            "-j DROP",
        ]
    );
    assert!(
        plan.remarks[0].contains("rules 4 to 6 stand behind"),
        "{:?}",
        plan.remarks
    );
    for step in &plan.steps {
        let at = rules
            .iter()
            .position(|rule| rule.as_bytes() == step.spec)
            .unwrap();
        assert_eq!(usize::try_from(step.number).unwrap(), at + 1, "{step:?}");
    }
    let again = planned("recommended-order", &[], &staged);
    assert!(again.steps.is_empty(), "{:?}", steps(&again));
}

#[test]
fn the_steps_of_a_plan_can_all_be_staged() {
    let boxes = [
        filter(
            "DROP DROP DROP",
            &["INPUT -j DROP", "OUTPUT -j REJECT", "FORWARD -j DROP"],
        ),
        filter("ACCEPT ACCEPT ACCEPT", &[]),
        stage_of(Family::V4, "*filter\nCOMMIT\n"),
        stage_of(
            Family::V6,
            "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\nCOMMIT\n",
        ),
    ];
    let pairs = [
        ("service", "443"),
        ("port", "80"),
        ("out", "eth0"),
        ("inside", "eth1"),
    ];
    for stage in boxes {
        let to = match stage.base().family() {
            Family::V4 => "10.0.0.5",
            Family::V6 => "fd00::5",
        };
        for template in shipped() {
            let mut all = given(&pairs);
            all.insert("to".to_owned(), to.to_owned());
            for field in &template.fields {
                all.entry(field.name.clone())
                    .or_insert_with(|| field.default.clone());
            }
            let plan = plan(template, &all, &stage, &names());
            assert!(plan.lacks.is_empty(), "{}: {:?}", template.name, plan.lacks);
            let mut staged = stage.clone();
            for step in &plan.steps {
                staged.carry_out(step.operation.clone()).unwrap();
                assert!(step.number > 0 && !step.why.is_empty());
            }
        }
    }
}

/// On the usual chain with a drop at the end, it stands before the accepts that would let such a packet in.
#[test]
fn a_drop_at_the_end_does_not_drop_what_is_invalid_before_the_accepts() {
    let stage = filter(
        "ACCEPT ACCEPT ACCEPT",
        &[
            "INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            "INPUT -j DROP",
        ],
    );
    let plan = planned("drop-invalid", &[], &stage);
    assert!(
        steps(&plan).contains(&"filter INPUT 2 -m conntrack --ctstate INVALID -j DROP".to_owned()),
        "{:?}",
        steps(&plan)
    );
}
