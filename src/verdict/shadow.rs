//! Rules that no packet can match: because they ask for what cannot be, or because one earlier rule of
//! their chain takes every packet that they would.
//!
//! Sound, not complete: what is named here is dead; a rule that only several others cover together is
//! not found. A chain is always entered at its first rule, so a packet that comes to a rule has passed all
//! before it, and one of those that matches everything the later one does, and lets nothing go on, leaves
//! it nothing. What a rule between the two may change (a mark, the TTL) proves nothing any more. Work is
//! bounded: past the bound the answer says that it is not complete.

use super::cond::{Cond, StateTest};
use super::program::{Action, Place, Program, Rule};
use super::state::ct;
use crate::ruleset::Ruleset;

/// Pairs of rules that are compared at most.
const PAIRS: usize = 50_000_000;

/// A rule that no packet can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The rule.
    pub rule: Place,
    /// The earlier rule that takes its packets; `None` where its own conditions cannot be met.
    pub by: Option<Place>,
}

/// All that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadows {
    /// In the order of the program.
    pub found: Vec<Shadow>,
    /// False when the bound of the work ended the search.
    pub complete: bool,
}

impl Program {
    /// Finds rules that can never match. `rulesets` are those that were compiled.
    pub fn shadows(&self, rulesets: &[&Ruleset]) -> Shadows {
        let mut shadows = Shadows {
            found: Vec::new(),
            complete: true,
        };
        let mut pairs = PAIRS;
        for chain in &self.chains {
            let mut covers: Vec<u32> = Vec::new();
            for at in chain.entry..chain.end {
                let Some(rule) = self.rules.get(at as usize) else {
                    break;
                };
                if pairs < covers.len() {
                    shadows.complete = false;
                    return shadows;
                }
                pairs -= covers.len();
                let conds = self.conds_of(*rule);
                let cover = covers.iter().find(|cover| self.covers(**cover, conds));
                let never = conds.iter().any(|cond| matches!(cond, Cond::Never(_)));
                if let (true, Some(rule)) = (never || cover.is_some(), self.place(at, rulesets)) {
                    let by = cover
                        .filter(|_| !never)
                        .and_then(|cover| self.place(*cover, rulesets));
                    shadows.found.push(Shadow { rule, by });
                    // What never matches covers nothing and changes nothing.
                    continue;
                }
                match rule.action {
                    Action::Accept
                    | Action::Drop
                    | Action::Reject(_)
                    | Action::Return
                    | Action::Goto(_)
                    | Action::Nat(_) => covers.push(at),
                    Action::Change(_) | Action::Jump(_) => covers.retain(|cover| {
                        let rule = self.rules.get(*cover as usize);
                        rule.is_some_and(|rule| !self.conds_of(*rule).iter().any(may_change))
                    }),
                    Action::Next | Action::Beyond(_) | Action::End => {}
                }
            }
        }
        shadows
    }

    fn conds_of(&self, rule: Rule) -> &[Cond] {
        let from = rule.first as usize;
        self.conds
            .get(from..from + usize::from(rule.count))
            .unwrap_or_default()
    }

    /// Everything that meets `later` meets the conditions of the rule at that place.
    fn covers(&self, earlier: u32, later: &[Cond]) -> bool {
        let Some(rule) = self.rules.get(earlier as usize) else {
            return false;
        };
        let implied = |wanted: &Cond| later.iter().any(|given| implies(given, wanted));
        self.conds_of(*rule).iter().all(implied)
    }
}

/// The condition looks at what a target may change on the way.
fn may_change(cond: &Cond) -> bool {
    !matches!(
        cond,
        Cond::Proto { .. }
            | Cond::Net { .. }
            | Cond::Range { .. }
            | Cond::Iface { .. }
            | Cond::Fragment { .. }
            | Cond::Header(_)
            | Cond::Port { .. }
            | Cond::Flags { .. }
            | Cond::Icmp { .. }
    )
}

/// Whatever meets `given` meets `wanted`.
fn implies(given: &Cond, wanted: &Cond) -> bool {
    match (given, wanted) {
        (
            Cond::Proto {
                number: is,
                invert: false,
            }
            | Cond::Header(is),
            Cond::Proto { number, invert },
        ) => (is == number) != *invert,
        (
            Cond::Net {
                end,
                bits,
                mask,
                invert,
            },
            Cond::Net {
                end: side,
                bits: other,
                mask: wide,
                invert: not,
            },
        ) => end == side && masks((*bits, *mask, *invert), (*other, *wide, *not)),
        (
            Cond::Iface {
                out,
                bits,
                mask,
                invert,
            },
            Cond::Iface {
                out: side,
                bits: other,
                mask: wide,
                invert: not,
            },
        ) => out == side && masks((*bits, *mask, *invert), (*other, *wide, *not)),
        (
            Cond::Range {
                end,
                first,
                last,
                invert: false,
            },
            Cond::Range {
                end: side,
                first: low,
                last: high,
                invert: false,
            },
        ) => end == side && low <= first && last <= high,
        (
            Cond::Port { end, ports, invert },
            Cond::Port {
                end: side,
                ports: other,
                invert: not,
            },
        ) => {
            let within = other.min <= ports.min && ports.max <= other.max;
            let around = ports.min <= other.min && other.max <= ports.max;
            let apart = ports.max < other.min || other.max < ports.min;
            end == side
                && match (invert, not) {
                    (false, false) => within,
                    (false, true) => apart,
                    (true, true) => around,
                    (true, false) => false,
                }
        }
        (Cond::State(given), Cond::State(wanted)) => match (states(*given), states(*wanted)) {
            (Some(given), Some(wanted)) => given & !wanted == 0,
            _ => false,
        },
        (
            Cond::Icmp {
                kind,
                code,
                invert: false,
            },
            Cond::Icmp {
                kind: wide,
                code: any,
                invert: false,
            },
        ) => wide.is_none() || kind == wide && (any.is_none() || code == any),
        _ => key(given).is_some() && key(given) == key(wanted),
    }
}

/// What tells a condition of which only an equal one is looked for.
fn key(cond: &Cond) -> Option<(u8, u32, u32, bool)> {
    Some(match cond {
        Cond::Proto { number, invert } => (0, (*number).into(), 0, *invert),
        Cond::Header(number) => (1, (*number).into(), 0, false),
        Cond::Fragment { invert } => (2, 0, 0, *invert),
        Cond::Flags { mask, set, invert } => (3, (*mask).into(), (*set).into(), *invert),
        Cond::Mark {
            value,
            mask,
            invert,
        } => (4, *value, *mask, *invert),
        Cond::Tos {
            value,
            mask,
            invert,
        } => (5, (*value).into(), (*mask).into(), *invert),
        _ => return None,
    })
}

/// The same of two masked comparisons: bits, mask, inverted.
fn masks((bits, mask, invert): (u128, u128, bool), (other, wide, not): (u128, u128, bool)) -> bool {
    match (invert, not) {
        (false, false) => mask & wide == wide && bits & wide == other,
        (false, true) => (bits ^ other) & mask & wide != 0,
        (true, true) => mask & wide == mask && other & mask == bits,
        (true, false) => false,
    }
}

/// The states that pass; `None` where NAT is asked too.
fn states(test: StateTest) -> Option<u8> {
    let plain = !test.snat && !test.dnat;
    plain.then_some(if test.invert {
        ct::ANY & !test.states
    } else {
        test.states
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::flow::{IfName, Protocol};
    use crate::ruleset::{Document, Family, Hints};
    use crate::verdict::{Answer, Facts};
    use crate::verdict::{CtState, Path, Probe};

    fn dead(rules: &[&str]) -> Vec<(u32, Option<u32>)> {
        let text = rules.join("\n-A INPUT ");
        let dump = format!("*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n-A INPUT {text}\nCOMMIT\n");
        let document = Document::parse(dump.into_bytes(), Hints::default()).unwrap();
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        let shadows = Program::compile(Family::V4, &rulesets).shadows(&rulesets);
        assert!(shadows.complete);
        let number = |place: Place| rulesets[place.ruleset].number(place.rule.unwrap());
        shadows
            .found
            .iter()
            .map(|s| (number(s.rule), s.by.map(number)))
            .collect()
    }

    #[test]
    fn dead_rules_and_who_covers_them() {
        #[rustfmt::skip]
        type Dead<'a> = &'a [(u32, Option<u32>)];
        let cases: [(&[&str], Dead<'_>); 12] = [
            (&["-j DROP", "-p tcp -j ACCEPT"], &[(2, Some(1))]),
            (
                &[
                    "-s 10.0.0.0/8 -j DROP",
                    "-s 10.1.0.0/16 -p tcp -m tcp --dport 22 -j ACCEPT",
                ],
                &[(2, Some(1))],
            ),
            (&["-s 10.1.0.0/16 -j DROP", "-s 10.0.0.0/8 -j ACCEPT"], &[]),
            (
                &[
                    "-p tcp -m tcp --dport 1:100 -j DROP",
                    "-i eth0 -p tcp -m tcp --dport 80 -j ACCEPT",
                ],
                &[(2, Some(1))],
            ),
            (&["-i eth+ -j DROP", "-i eth0 -j ACCEPT"], &[(2, Some(1))]),
            (&["! -i lo -j DROP", "-i eth0 -j ACCEPT"], &[(2, Some(1))]),
            (
                &[
                    "-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
                    "-m conntrack --ctstate NEW -j DROP",
                ],
                &[(2, Some(1))],
            ),
            (&["-p tcp -j LOG", "-p tcp -j ACCEPT"], &[]),
            (
                &["-p tcp -m limit --limit 1/s -j ACCEPT", "-p tcp -j DROP"],
                &[],
            ),
            (
                &[
                    "-m mark --mark 1 -j DROP",
                    "-j MARK --set-mark 1",
                    "-m mark --mark 1 -j ACCEPT",
                ],
                &[],
            ),
            (&["-p tcp -g a", "-p tcp -j ACCEPT"], &[(2, Some(1))]),
            (
                &[
                    "-m statistic --mode random --probability 0 -j DROP",
                    "-j ACCEPT",
                ],
                &[(1, None)],
            ),
        ];
        for (rules, expected) in cases {
            assert_eq!(dead(rules), expected, "{rules:?}");
        }
    }

    fn rule() -> impl Strategy<Value = String> {
        let proto = prop_oneof![
            "",
            "-p tcp",
            "-p udp",
            "! -p tcp",
            "-p tcp -m tcp --dport (2|80)",
            "-p tcp -m tcp ! --dport 1:9",
            "-p udp -m udp --sport 1:80"
        ];
        let net = prop_oneof![
            "",
            "! -s 10\\.0\\.0\\.(0|1)/3[0-2]",
            "-s 10\\.0\\.0\\.[0-3]",
            "-s 10\\.0\\.0\\.0/(30|31)",
            "-d 10\\.0\\.0\\.[0-3]/31"
        ];
        let rest = prop_oneof![
            "",
            "-i (eth0|eth\\+|lo)",
            "! -i eth0",
            "-m mark --mark [01]",
            "-m conntrack --ctstate (NEW|ESTABLISHED|NEW,ESTABLISHED)",
            "! -f"
        ];
        let target = prop_oneof![
            "-j ACCEPT",
            "-j DROP",
            "-j RETURN",
            "-j a",
            "-g a",
            "-j MARK --set-mark [01]",
            ""
        ];
        (proto, net, rest, target).prop_map(|(p, n, r, t)| format!("{p} {n} {r} {t}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// No packet out of many matches a rule that is called dead.
        #[test]
        fn nothing_matches_what_is_called_dead(
            rules in proptest::collection::vec((rule(), any::<bool>()), 2..14),
            packets in proptest::collection::vec(any::<u16>(), 100),
        ) {
            let mut dump = String::from("*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n");
            for (rule, user) in &rules {
                // Calls from the user chain would be loops.
                let inner = rule.replace("-j a", "-j ACCEPT").replace("-g a", "-j DROP");
                let (chain, rule) = if *user { ("a", &inner) } else { ("INPUT", rule) };
                dump.extend(["-A ", chain, " ", rule, "\n"]);
            }
            dump.push_str("COMMIT\n");
            let document = Document::parse(dump.clone().into_bytes(), Hints::default()).unwrap();
            let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
            let program = Program::compile(Family::V4, &rulesets);
            let shadows = program.shadows(&rulesets);
            for bits in packets {
                let pick = |shift: u32, of: u16| (bits >> shift) % of;
                let address = |low: u16| Some(Ipv4Addr::new(10, 0, 0, u8::try_from(low).unwrap()).into());
                let probe = Probe {
                    input: IfName::new([&b"eth0"[..], b"eth1", b"lo"][usize::from(pick(0, 3))]),
                    proto: Some(if pick(2, 2) == 0 { Protocol::TCP } else { Protocol::UDP }),
                    src: address(pick(3, 5)),
                    dst: address(pick(6, 4)),
                    sport: Some(pick(8, 2) * 79 + 1),
                    dport: Some([2, 80, 9][usize::from(pick(9, 3))]),
                    ctstate: Some(if pick(11, 2) == 0 { CtState::New } else { CtState::Established }),
                    mark: Some(u32::from(pick(12, 2))),
                    fragment: pick(13, 4) == 0,
                    ..Probe::new(Family::V4, Path::Input)
                };
                let explanation = program.explain(&probe, &Facts::default(), &rulesets);
                for step in explanation.path {
                    let called_dead = shadows.found.iter().any(|shadow| shadow.rule == step.place);
                    prop_assert!(!(called_dead && step.answer == Answer::Match), "{probe:?}\n{dump}");
                }
            }
        }
    }
}
