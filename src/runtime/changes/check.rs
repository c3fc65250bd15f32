//! What is looked at before anybody is asked to apply a change: the back end's own dry run, the
//! administrator's sessions, and what the change does to traffic.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::app::change::{Checked, Session};
use crate::app::connections::Connection;
use crate::app::firewall::FirewallId;
use crate::app::message::Message;
use crate::app::state::State;
use crate::app::why::question::packets_of;
use crate::ruleset::{BaseChain, Family, Lossy, Marked, Origin, Ruleset};
use crate::runtime::board::Event;
use crate::runtime::changes::traffic;
use crate::safety::preflight::{Question, preflight};
use crate::safety::{self, To, Transition, lockout};
use crate::verdict::{Facts, Probe};

/// Lines of the drop feed that are put through a staged change.
const DROPS: usize = 500;

/// What is staged on one ruleset.
#[derive(Clone, Debug)]
pub struct Staged {
    /// Which one.
    pub origin: Origin,
    /// As the kernel has it.
    pub before: Arc<Ruleset>,
    /// As it would be.
    pub after: Arc<Ruleset>,
}

/// All that the checks look at, taken out of the state so that they can run beside it.
#[derive(Debug)]
pub struct Material {
    of: Vec<(FirewallId, usize)>,
    pub(super) staged: Vec<Staged>,
    /// Families of which something is staged, also where the back end is not known.
    pub(super) families: Vec<Family>,
    before: Vec<Arc<Ruleset>>,
    after: Vec<Arc<Ruleset>>,
    /// Rules of `before` whose text says less than the kernel holds, parallel to it.
    lossy_before: Vec<Vec<Lossy>>,
    /// The same rules in `after`.
    lossy_after: Vec<Vec<Lossy>>,
    pub(super) natives: Vec<BaseChain>,
    /// The last packets of the drop feed.
    pub(super) drops: Vec<Probe>,
    tracked: bool,
}

impl Material {
    /// What the state has staged.
    pub fn of(state: &State) -> Self {
        let mut material = Self {
            of: state.staged_counts(),
            staged: Vec::new(),
            families: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            lossy_before: Vec::new(),
            lossy_after: Vec::new(),
            natives: state.native.clone(),
            drops: state
                .feed
                .lines()
                .rev()
                .take(DROPS)
                .filter_map(|shown| packets_of(&shown.line).into_iter().next())
                .collect(),
            tracked: state
                .gauge
                .reading()
                .is_some_and(|reading| reading.count > 0),
        };
        for firewall in &state.firewalls {
            let before = Arc::clone(firewall.kernel());
            let after = match firewall.stage().filter(|stage| !stage.is_empty()) {
                Some(stage) => stage.staged(),
                None => Arc::clone(&before),
            };
            if !Arc::ptr_eq(&before, &after) {
                material.families.push(firewall.id.family);
                // The dry run alone needs to know whose rules they are.
                material
                    .staged
                    .extend(firewall.id.origin().map(|origin| Staged {
                        origin,
                        before: Arc::clone(&before),
                        after: Arc::clone(&after),
                    }));
            }
            let marked = Marked {
                ruleset: &before,
                lossy: firewall.all_lossy(),
            };
            material.lossy_after.push(marked.carried(&after));
            material.lossy_before.push(firewall.all_lossy().to_vec());
            material.before.push(before);
            material.after.push(after);
        }
        material
    }
}

impl Material {
    /// The rulesets as they are, with their marks.
    pub(super) fn marked_before(&self) -> Vec<Marked<'_>> {
        marked(&self.before, &self.lossy_before)
    }

    /// The rulesets as they would be, in the same order.
    pub(super) fn marked_after(&self) -> Vec<Marked<'_>> {
        marked(&self.after, &self.lossy_after)
    }

    pub(super) fn transitions(&self) -> impl Iterator<Item = Transition> + '_ {
        self.staged.iter().map(|staged| Transition {
            origin: staged.origin,
            before: Arc::clone(&staged.before),
            to: To::Ruleset(Arc::clone(&staged.after)),
        })
    }

    /// The rulesets of which something is to be counted from zero.
    pub(super) fn zeroed(&self) -> Vec<(Origin, Arc<Ruleset>)> {
        let anew = |staged: &&Staged| {
            let after = &staged.after;
            !after.zeroed_rules().is_empty() || !after.zeroed_chains().is_empty()
        };
        let found = self.staged.iter().filter(anew);
        found
            .map(|staged| (staged.origin, Arc::clone(&staged.after)))
            .collect()
    }
}

fn marked<'a>(rulesets: &'a [Arc<Ruleset>], lossy: &'a [Vec<Lossy>]) -> Vec<Marked<'a>> {
    let rulesets = rulesets.iter().map(AsRef::as_ref);
    let with = |(ruleset, lossy): (&'a Ruleset, &'a Vec<Lossy>)| Marked { ruleset, lossy };
    rulesets.zip(lossy).map(with).collect()
}

/// Why the back end would not take a change, in its own words.
fn refusal(transition: &Transition) -> Option<String> {
    let error = safety::dry_run(transition).err()?;
    Some(format!("{}: {error}", transition.origin))
}

/// Looks at what is staged, on a thread of its own.
pub fn check(events: UnboundedSender<Event>, material: Material, live: bool) {
    let look = move || {
        let checked = checked(&material, live);
        let _ = events.send(Event::Message(Message::Checked(checked)));
    };
    if let Err(error) = std::thread::Builder::new()
        .name("check".to_owned())
        .spawn(look)
    {
        tracing::warn!(%error, "no thread to check a change with");
    }
}

fn checked(material: &Material, live: bool) -> Checked {
    let mut checked = Checked {
        of: material.of.clone(),
        ..Checked::default()
    };
    let facts = facts(live);
    let live_packets = if live {
        traffic::connections(&facts)
    } else {
        Vec::new()
    };
    for family in [Family::V4, Family::V6] {
        traffic::look(material, family, (&facts, &live_packets), &mut checked);
    }
    if live {
        checked.refused = material
            .transitions()
            .filter_map(|change| refusal(&change))
            .collect();
        checked.sessions = sessions(material, &facts);
    }
    checked.has_kernel = live;
    checked
}

/// The connections of this box, for people.
pub(super) fn listed() -> Result<Vec<Connection>, String> {
    traffic::listed(&facts(true))
}

/// What verdicts may know of the box. Of a dump's box nothing is known.
fn facts(live: bool) -> Facts {
    if live {
        lockout::facts()
    } else {
        Facts::default()
    }
}

/// The administrator's sessions, put through what is staged.
fn sessions(material: &Material, facts: &Facts) -> Vec<Session> {
    let sessions = match lockout::sessions() {
        Ok(sessions) => sessions,
        Err(unjudged) => {
            return vec![Session {
                words: unjudged.to_string(),
                safe: false,
            }];
        }
    };
    let reports = preflight(&Question {
        sessions: &sessions,
        before: &material.marked_before(),
        after: &material.marked_after(),
        natives: &material.natives,
        facts,
        tracked: material.tracked,
    });
    let told = reports.iter().map(|report| Session {
        words: report.words(),
        safe: report.is_safe(),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::action::Keymap;
    use crate::app::attribution::LogRules;
    use crate::app::message::Loaded;
    use crate::app::state;
    use crate::app::update::update;
    use crate::edit::{Operation, RowId, Spot};
    use crate::ruleset::Backend;
    use std::time::Duration;

    const GOOD: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:aaa - [0:0]\n:good - [0:0]\n\
        -A INPUT -j good\n-A good -j ACCEPT\nCOMMIT\n";

    /// A board with those rules, the first of `good` of which may be marked, and a drop of tcp staged before all.
    fn staged(marked: bool) -> Material {
        let origin = Origin::new(Family::V4, Backend::Nft);
        let ruleset = Ruleset::parse(GOOD.as_bytes(), origin).unwrap();
        let mark = Lossy {
            chain: ruleset.find_chain("filter", "good").unwrap(),
            position: 0,
            why: "a set decides".to_owned(),
            does_more: false,
        };
        let loaded = Loaded {
            id: origin.into(),
            handles: Vec::new(),
            log_rules: LogRules::of(&ruleset),
            ruleset: Arc::new(ruleset),
            lossy: marked.then_some(mark).into_iter().collect(),
            uncounted_rules: Vec::new(),
            uncounted_policies: Vec::new(),
            author: None,
        };
        let keymap = Keymap::shipped().unwrap();
        let mut state = State::new(state::Facts::default(), keymap, Duration::from_secs(1));
        let message = Message::Loaded(Box::new(loaded));
        update(&mut state, message, Duration::ZERO);
        let mut stage = state.firewalls[0].stage_or_fresh();
        for operation in [
            Operation::DeleteChain {
                chain: crate::edit::ChainName::new("filter", "aaa"),
            },
            Operation::Insert {
                at: Spot::new("filter", "INPUT", RowId(0)),
                spec: b"-p tcp -j DROP".to_vec(),
            },
        ] {
            stage.carry_out(operation).unwrap();
        }
        state.firewalls[0].restage(Some(stage));
        Material::of(&state)
    }

    #[test]
    fn what_is_staged_keeps_the_marks_of_what_is() {
        let material = staged(true);
        let (before, after) = (material.marked_before(), material.marked_after());
        let good = |one: &Marked<'_>| one.ruleset.find_chain("filter", "good").unwrap();
        assert_ne!(
            good(&before[0]),
            good(&after[0]),
            "a chain before it is gone"
        );
        for side in [&before[0], &after[0]] {
            assert_eq!(side.lossy.len(), 1);
            assert_eq!(
                (side.lossy[0].chain, side.lossy[0].position),
                (good(side), 0)
            );
        }
    }

    #[test]
    fn what_a_change_cuts_is_certain_only_as_far_as_its_rules_are_believed() {
        for marked in [false, true] {
            let checked = checked(&staged(marked), false);
            assert!(!checked.dropped.is_empty());
            let depends = |line: &String| line.contains("when filter good rule 1");
            assert_eq!(checked.dropped.iter().all(depends), marked, "{checked:?}");
        }
    }
}
