//! The packets that a change of the rules may touch: those that meet a rule that is not in both rulesets at
//! the same place.
//!
//! More than those is never wrong, only dearer. What a rule asks of fields that targets may have changed
//! before it is not looked at, since the answer is in packets as they arrive.

use std::collections::HashMap;

use crate::ruleset::{Policy, Ruleset};
use crate::verdict::program::{Action, Chain, Change, End, Program, TableKind};
use crate::verdict::space::area::Area;
use crate::verdict::space::cube::{Cube, piece};

use super::{Policed, Side};

/// Areas that are worth telling apart.
const AREAS: usize = 400;

/// Rules that may be changed in one chain before all between the first and the last of them count as changed.
const CHANGES: usize = 40;

/// Where a chain is: its ruleset's place in the list, its table and its name.
type Name<'a> = (u16, &'a str, &'a [u8]);

/// Boxes that do not overlap.
pub(super) fn affected(before: Side<'_>, after: Side<'_>) -> Vec<Area> {
    let all = vec![Area::all(after.program.is_v6())];
    let (old, new) = (chains(before), chains(after));
    let mut areas = Vec::new();
    let mut names: Vec<&Name<'_>> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let blind = [Blind::of(before.program), Blind::of(after.program)];
    let whole = before.program.whole || after.program.whole;
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        if policy(old) != policy(new) {
            return all;
        }
        let (old, new) = (rules(before, old), rules(after, new));
        let (gone, come) = different(&old, &new);
        for (side, places) in [(before, gone), (after, come)] {
            for at in places {
                let Some(region) = side.program.region(at) else {
                    return all;
                };
                let table = side.program.chain_at(at).map(|(_, chain)| chain.table);
                for mut cube in region.cubes {
                    let table = table.unwrap_or(TableKind::Other);
                    let v6 = side.program.is_v6();
                    for blind in &blind {
                        blind.widen(&mut cube, table, v6);
                    }
                    if whole {
                        cube.pieces = piece::ANY;
                    }
                    add(&mut areas, Area::of(&cube));
                }
                if areas.len() > AREAS {
                    return all;
                }
            }
        }
    }
    areas
}

/// The built-in chains that end otherwise.
pub(super) fn policies(before: Side<'_>, after: Side<'_>) -> Vec<Policed> {
    let (old, new) = (chains(before), chains(after));
    let mut names: Vec<&Name<'_>> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let word = |end: End| match end {
        End::Policy(policy) => Some(policy),
        End::NotStated => None,
    };
    let changed = names.into_iter().filter_map(|name| {
        let (from, to) = (policy(old.get(name)), policy(new.get(name)));
        let (ruleset, table, chain) = *name;
        (from != to).then(|| Policed {
            ruleset: ruleset.into(),
            table: table.to_owned(),
            chain: String::from_utf8_lossy(chain).into_owned(),
            from: word(from),
            to: word(to),
        })
    });
    changed.collect()
}

/// Adds an area without those that are there.
fn add(areas: &mut Vec<Area>, area: Area) {
    let mut left = vec![area];
    for own in areas.iter() {
        let mut rest = Vec::new();
        for area in &left {
            area.minus(own, |area| rest.push(area));
        }
        left = rest;
    }
    areas.append(&mut left);
}

fn chains(side: Side<'_>) -> HashMap<Name<'_>, &Chain> {
    let named = |chain| -> Option<(Name<'_>, &Chain)> {
        let chain: &Chain = chain;
        let ruleset: &Ruleset = side.rulesets.get(usize::from(chain.ruleset))?;
        let own = ruleset.chain(chain.index);
        let table = ruleset.table(own.table()).name();
        Some(((chain.ruleset, table, own.name_bytes()), chain))
    };
    side.program.chains.iter().filter_map(named).collect()
}

/// How a built-in chain ends; a table that is not there lets everything pass.
fn policy(chain: Option<&&Chain>) -> End {
    let policy = chain.and_then(|chain| chain.policy);
    policy.unwrap_or(End::Policy(Policy::Accept))
}

/// A rule: its text, and what kind of thing it does, since the same name may mean a chain or not.
type Line<'a> = (std::borrow::Cow<'a, [u8]>, std::mem::Discriminant<Action>);

fn rules<'a>(side: Side<'a>, chain: Option<&&Chain>) -> Vec<(u32, Line<'a>)> {
    let Some(chain) = chain else {
        return Vec::new();
    };
    let Some(ruleset) = side.rulesets.get(usize::from(chain.ruleset)) else {
        return Vec::new();
    };
    let places = chain.entry..chain.end;
    let rules = ruleset.chain(chain.index).rules();
    places
        .zip(rules)
        .filter_map(|(at, rule)| {
            let action = side.program.rules.get(at as usize)?.action;
            let line = (ruleset.normal_spec(*rule), std::mem::discriminant(&action));
            Some((at, line))
        })
        .collect()
}

/// The places of rules that are in the one only, and in the other only, such that the rest is the same list.
fn different(old: &[(u32, Line<'_>)], new: &[(u32, Line<'_>)]) -> (Vec<u32>, Vec<u32>) {
    let same = old
        .iter()
        .zip(new)
        .take_while(|(old, new)| old.1 == new.1)
        .count();
    let (old, new) = (
        old.get(same..).unwrap_or_default(),
        new.get(same..).unwrap_or_default(),
    );
    let same = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(old, new)| old.1 == new.1)
        .count();
    let (old, new) = (
        old.get(..old.len() - same).unwrap_or_default(),
        new.get(..new.len() - same).unwrap_or_default(),
    );
    let places = |rules: &[(u32, Line<'_>)]| rules.iter().map(|(at, _)| *at).collect();
    shortest(old, new).unwrap_or_else(|| (places(old), places(new)))
}

/// The shortest list of differences (Myers, "An O(ND) Difference Algorithm", 1986), if it is short.
fn shortest(old: &[(u32, Line<'_>)], new: &[(u32, Line<'_>)]) -> Option<(Vec<u32>, Vec<u32>)> {
    /// How far a path has come, and the differences on it.
    #[derive(Clone, Default)]
    struct Reached {
        at: usize,
        gone: Vec<u32>,
        come: Vec<u32>,
    }
    let slide = |mut reached: Reached, ahead: isize| {
        let other = |at: usize| at.checked_add_signed(-ahead);
        while let (Some(a), Some(b)) = (
            old.get(reached.at),
            other(reached.at).and_then(|at| new.get(at)),
        ) {
            if a.1 != b.1 {
                break;
            }
            reached.at += 1;
        }
        reached
    };
    // By diagonal: how much further the old list is than the new one.
    let mut front: HashMap<isize, Reached> = HashMap::new();
    front.insert(0, slide(Reached::default(), 0));
    for _ in 0..=CHANGES {
        let done = |(ahead, reached): (&isize, &Reached)| {
            let other = reached.at.checked_add_signed(-*ahead);
            (reached.at == old.len() && other == Some(new.len()))
                .then(|| (reached.gone.clone(), reached.come.clone()))
        };
        if let Some(found) = front.iter().find_map(done) {
            return Some(found);
        }
        let mut next: HashMap<isize, Reached> = HashMap::new();
        for (ahead, reached) in &front {
            let other = reached.at.checked_add_signed(-*ahead)?;
            let mut steps = Vec::new();
            if let Some((place, _)) = old.get(reached.at) {
                let mut step = reached.clone();
                step.at += 1;
                step.gone.push(*place);
                steps.push((ahead + 1, step));
            }
            if let Some((place, _)) = new.get(other) {
                let mut step = reached.clone();
                step.come.push(*place);
                steps.push((ahead - 1, step));
            }
            for (ahead, step) in steps {
                let step = slide(step, ahead);
                let best = next.get(&ahead).is_none_or(|best| best.at < step.at);
                if best {
                    next.insert(ahead, step);
                }
            }
        }
        front = next;
    }
    None
}

/// What rules cannot be asked about in packets as they arrive.
struct Blind {
    destination: bool,
    source: bool,
    state: bool,
}

impl Blind {
    fn of(program: &Program) -> Self {
        let has = |test: fn(&Change) -> bool| program.changes.iter().any(test);
        Self {
            destination: has(|change| {
                matches!(
                    change,
                    Change::Dnat(_) | Change::Redirect(_) | Change::Netmap(_) | Change::May(_)
                )
            }),
            source: has(|change| {
                matches!(
                    change,
                    Change::Snat(_) | Change::Masquerade(_) | Change::Netmap(_) | Change::May(_)
                )
            }),
            state: has(|change| {
                matches!(change, Change::Notrack | Change::Template | Change::May(_))
            }),
        }
    }

    fn widen(&self, cube: &mut Cube, table: TableKind, v6: bool) {
        let all = Cube::all(v6);
        // Names are asked of hooks that show none.
        if self.destination || cube.output.holds(0) {
            cube.output = all.output;
        }
        if self.destination && table != TableKind::Raw {
            cube.dst = all.dst;
            cube.dport = all.dport;
        }
        // Sources are changed after filter.
        if self.source && !matches!(table, TableKind::Raw | TableKind::Filter) {
            cube.src = all.src;
            cube.sport = all.sport;
        }
        if self.state || table == TableKind::Raw {
            cube.ct = all.ct;
        }
    }
}
