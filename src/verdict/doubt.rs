//! Why a rule cannot be told, where that takes more than the condition itself: other rules, or the native chain that
//! it stands in.

use super::cond::{Cond, Odd};
use super::diary::{Diary, Entry};
use super::program::{Change, Program};
use super::tri::Tri;
use crate::ruleset::Family;

impl Program {
    /// What rules of native chains leave open, which are no steps of the path.
    pub(super) fn native_doubts(&self, diary: &Diary) -> Vec<String> {
        let doubt = |entry: &Entry| {
            let name = self.natives.get(self.native_at(entry.place)? as usize)?;
            let cond = self.conds.get(entry.cond? as usize)?;
            let words = cond.words(self.family == Family::V6);
            Some(match cond {
                Cond::Odd(odd) => match odd.as_ref() {
                    Odd::Native(test) if test.unread => format!("{}: {}", test.whose, test.why),
                    Odd::Native(test) => format!("{words}: {}", test.why),
                    _ => format!("the native chain {name}: {words}"),
                },
                _ => format!("the native chain {name}: {words}"),
            })
        };
        let open = diary.entries.iter();
        open.filter(|entry| entry.answer == Tri::Unknown)
            .filter_map(doubt)
            .collect()
    }

    /// Why a condition cannot be told.
    pub(super) fn doubt_of(&self, cond: &Cond) -> &'static str {
        let is_set = |odd: &Odd| matches!(odd, Odd::Set(_));
        let changed =
            |change: &Change| matches!(change, Change::Members(one) if one.is_something());
        match cond {
            Cond::Odd(odd) if is_set(odd) && self.changes.iter().any(changed) => {
                "the set's members, which a rule on the way may change, or the packet's part, are not known"
            }
            _ => cond.doubt(),
        }
    }
}
