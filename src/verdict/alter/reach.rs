//! From where something can be reached, and which rules stop the rest.

use std::collections::HashMap;

use super::WORK;
use crate::ruleset::Ruleset;
use crate::verdict::explain::Decider;
use crate::verdict::facts::Facts;
use crate::verdict::program::Program;
use crate::verdict::space::area::Area;
use crate::verdict::sweep::{Book, Conditional, Fate, Sweep};
use crate::verdict::thread::By;
use crate::verdict::traffic::{Traffic, cube_of};
use crate::verdict::{Probe, Verdict};

/// Which packets of a kind come through.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Those that do.
    pub accepted: Traffic,
    /// Those that do not, by who stops them, most of them first.
    pub stopped: Vec<Stopped>,
    /// False when the bound of the work was met: then what is said is true, but there is more.
    pub complete: bool,
}

/// Packets that one rule, or one policy, stops.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// Who.
    pub by: Option<Decider>,
    /// Drop or reject.
    pub verdict: Verdict,
    /// Which.
    pub traffic: Traffic,
}

impl Program {
    /// Puts all packets through that are like the one given in what is said of it: `tcp/443 input` from
    /// anywhere. What is not said of it is everything. `rulesets` are those that were compiled.
    pub fn reach(&self, kind: &Probe, facts: &Facts, rulesets: &[&Ruleset]) -> Reach {
        let (family, path) = (self.family(), kind.path);
        let mut book = Book::default();
        let mut work = WORK;
        let mut sweep = Sweep::new(self, facts, &mut book, &mut work);
        sweep.names = true;
        if kind.family == family {
            let areas: Vec<Area> = cube_of(kind).iter().map(Area::of).collect();
            sweep.run(path, &areas);
        }
        let complete = !sweep.too_much;
        let mut accepted = Vec::new();
        let mut stopped: HashMap<(By, Fate), Vec<Conditional>> = HashMap::new();
        for ended in sweep.ended {
            match ended.fate {
                Fate::Accept => accepted.push(ended.what),
                fate => stopped
                    .entry((ended.by, fate))
                    .or_default()
                    .push(ended.what),
            }
        }
        let mut stopped: Vec<Stopped> = stopped
            .into_iter()
            .map(|((by, fate), parts)| Stopped {
                by: self.decider(by, rulesets),
                verdict: match fate {
                    Fate::Reject => Verdict::Reject,
                    _ => Verdict::Drop,
                },
                traffic: Traffic::of(family, path, parts, &book),
            })
            .collect();
        stopped.sort_by(|one, other| {
            let by_share = other.traffic.share().total_cmp(&one.traffic.share());
            let lines = |stopped: &Stopped| stopped.traffic.to_string();
            by_share.then_with(|| lines(one).cmp(&lines(other)))
        });
        Reach {
            accepted: Traffic::of(family, path, accepted, &book),
            stopped,
            complete,
        }
    }
}
