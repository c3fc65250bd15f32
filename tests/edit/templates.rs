//! Every template, planned against boxes of both families and back ends, staged, and put into the real
//! kernel: it takes every rule, and holds them where the plan said.

use std::sync::Arc;

use ruletop::edit::form::complete::Names;
use ruletop::edit::template::{Given, plan, shipped};
use ruletop::edit::{Stage, script};
use ruletop::ruleset::{Family, Origin};

use crate::pure::parse;
use crate::support::{LEGACY4, LEGACY6, NFT4, NFT6, Net, in_namespace};

/// Boxes before the template: nothing at all, one that drops by a rule, one by its policies.
const BOXES: [&str; 3] = [
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
     -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -j LOG\n-A INPUT -j DROP\n\
     -A INPUT -i lo -j ACCEPT\n-A FORWARD -j REJECT\nCOMMIT\n",
    "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\n:DOCKER-USER - [0:0]\n\
     :ufw-user-input - [0:0]\n-A INPUT -j ufw-user-input\n-A FORWARD -j DOCKER-USER\n\
     -A DOCKER-USER -j RETURN\nCOMMIT\n",
];

fn given(family: Family) -> Given {
    let to = match family {
        Family::V4 => "192.0.2.5",
        Family::V6 => "2001:db8::5",
    };
    let pairs = [
        ("service", "80,443"),
        ("protocol", "tcp,udp"),
        ("port", "8080"),
        ("to", to),
        ("to-port", "80"),
        ("out", "eth0"),
        ("inside", "eth1"),
    ];
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn load(net: &Net, origin: Origin, text: &str) -> Arc<ruletop::ruleset::Ruleset> {
    // The tables that a template before made go, each with its rules.
    for table in ["nat", "filter"] {
        net.tables(origin, &format!("-t {table} -F"));
        net.tables(origin, &format!("-t {table} -X"));
    }
    net.restore(origin, "", text);
    parse(&net.ok(&format!("{origin}-save -c")), origin)
}

#[test]
fn the_kernel_takes_every_rule_of_every_template() {
    for origin in [NFT4, NFT6, LEGACY4, LEGACY6] {
        in_namespace(move |net| {
            for text in BOXES {
                for template in shipped() {
                    let base = load(net, origin, text);
                    let mut all = given(origin.family);
                    for field in &template.fields {
                        all.entry(field.name.clone())
                            .or_insert_with(|| field.default.clone());
                    }
                    let mut stage = Stage::new(Arc::clone(&base));
                    let plan = plan(template, &all, &stage, &Names::default());
                    let name = format!("{origin} {}", template.name);
                    assert!(plan.lacks.is_empty(), "{name}: {:?}", plan.lacks);
                    for step in &plan.steps {
                        stage.carry_out(step.operation.clone()).unwrap();
                    }
                    if stage.is_empty() {
                        continue;
                    }
                    let staged = stage.staged();
                    let made = script(&base, &staged, &base.saved_counters()).unwrap();
                    let made = String::from_utf8(made.bytes()).unwrap();
                    net.restore(origin, "-n", &made);
                    let after = parse(&net.ok(&format!("{origin}-save -c")), origin);
                    for step in &plan.steps {
                        let (table, chain) = step.chain.split_once(' ').unwrap();
                        let chain = after
                            .find_chain(table, chain)
                            .unwrap_or_else(|| panic!("{name}"));
                        let rules = after.chain(chain).rules();
                        let rule = rules[usize::try_from(step.number).unwrap() - 1];
                        let wanted = String::from_utf8_lossy(&step.spec).into_owned();
                        let target = after.jump(rule).map(|jump| jump.name.to_vec());
                        let meant = wanted.split_whitespace().skip_while(|w| *w != "-j").nth(1);
                        assert_eq!(
                            target.as_deref(),
                            meant.map(str::as_bytes),
                            "{name} {}: {wanted}",
                            step.number
                        );
                    }
                    let count = |set: &ruletop::ruleset::Ruleset| set.rule_count();
                    assert_eq!(count(&after), count(&staged), "{name}\n{made}");
                }
            }
        });
    }
}
