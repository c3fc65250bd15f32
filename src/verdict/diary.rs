//! What a walk writes down on its way, for who explains it: the rules that were tried, and what was not known.

use std::collections::HashSet;

use super::tri::Tri;
use super::walk::Watch;

/// What a walk wrote down. The first thread is written down whole; of the others, what it did not meet.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pub entries: Vec<Entry>,
    met: HashSet<((u8, u8), u32)>,
    forked: bool,
    pub doubts: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub order: (u8, u8),
    pub place: u32,
    pub answer: Tri,
    pub cond: Option<u32>,
}

impl Diary {
    fn write(&mut self, order: (u8, u8), place: u32, answer: Tri, cond: Option<u32>) {
        let is_new = self.met.insert((order, place));
        if is_new || !self.forked {
            self.entries.push(Entry {
                order,
                place,
                answer,
                cond,
            });
        }
    }
}

impl Watch for Diary {
    fn tried(&mut self, order: (u8, u8), place: u32, answer: Tri, cond: Option<u32>) {
        self.write(order, place, answer, cond);
    }

    fn ended(&mut self, order: (u8, u8), place: u32) {
        self.write(order, place, Tri::Yes, None);
    }

    fn doubt(&mut self, why: &'static str) {
        self.doubts.push(why.to_owned());
    }

    fn next_thread(&mut self) {
        self.forked = true;
    }
}
