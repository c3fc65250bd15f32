//! The explain screen's state: what was asked, the answer, its path as rows, where the cursor is.
//!
//! The path of a packet may be tens of thousands of rules long, of which a handful matter. Chains that it
//! passes without a match are one row, long runs of "no" another, and both open where the user asks. Rows are
//! made when an answer comes, and drawing only reads them.
//!
//! Verdicts are worked out elsewhere, on a thread, and come back as messages: see [`question`].

pub mod offer;
pub mod question;
#[cfg(test)]
mod tests;

use std::time::Duration;

use offer::{Offer, Offers};
use question::{Answered, Beside, Held, Spot};

use crate::app::board::Cursor;
use crate::verdict::{Answer, Decider, Other, Place, Probe, Step, Verdict, read_words};

/// Runs of "no" that are shorter than this stand as they are, however small the screen.
const SHORT: usize = 3;

/// The packet that is being typed.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// What was typed so far.
    pub text: String,
    /// Why it is no packet yet.
    pub problem: Option<String>,
}

/// One row of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A chain is entered, or come back to: the first of its steps.
    Chain(usize),
    /// A chain in which nothing matched, whole: its steps from here to there (excluded).
    Passed(usize, usize),
    /// Rules that did not match: steps from here to there (excluded).
    Fold(usize, usize),
    /// A rule, or a policy.
    Step(usize),
    /// The first later rule that would have let the packet pass.
    Would(Place),
    /// What decided is no rule: the kernel, a native chain; or no chain stands in the way.
    End,
}

/// The screen.
#[derive(Clone, Debug, Default)]
pub struct Why {
    /// Number of the last question.
    pub number: u64,
    /// Packets of that question, to ask again when the rulesets change.
    pub packets: Vec<Probe>,
    /// The rule that was pointed at, if one was.
    pub about: Option<Spot>,
    /// The packet being typed.
    pub line: Option<Line>,
    /// The verdict.
    pub answer: Option<Answered>,
    /// What the rest of the box has to say, once it was read.
    pub beside: Option<Beside>,
    /// Changes that would let the packet through; `None` as long as they are looked for.
    pub offers: Option<Vec<Offer>>,
    /// The chosen one of them.
    pub offer: usize,
    /// Number of the last question to which all has been said.
    pub done: u64,
    /// The rows of the path.
    pub rows: Vec<Row>,
    /// Place in the rows.
    pub cursor: Cursor,
    /// When the last question was put.
    pub asked: Duration,
    /// Folds that were opened.
    open: Vec<Row>,
    /// Every fold is open.
    all: bool,
    /// Runs of "no" are open: the screen has room for them all.
    roomy: bool,
}

impl Why {
    /// A screen that waits for its answer.
    pub fn asked(number: u64, packets: Vec<Probe>, about: Option<Spot>, now: Duration) -> Self {
        Self {
            number,
            packets,
            about,
            asked: now,
            ..Self::default()
        }
    }

    /// A line to type a packet into, with what stands there.
    pub fn typing(&mut self, text: String) {
        self.line = Some(Line {
            text,
            problem: None,
        });
    }

    /// Takes a verdict in; one of an older question is passed by. True when something is different now.
    pub fn take(&mut self, answered: Answered, height: usize) -> bool {
        if answered.number != self.number {
            return false;
        }
        if let Some(before) = &mut self.answer
            && before.says_the_same(&answered)
        {
            *before = answered; // its rulesets are the ones of now
            return false;
        }
        // Found for other rules, their steps would mean other rows now.
        (self.offers, self.offer) = (None, 0);
        let held = self.spot_at(self.cursor.at);
        let again = self.answer.is_some();
        self.open.clear();
        self.answer = Some(answered);
        self.fit(height);
        let same = self.row_of(held.filter(|_| again));
        let at = same.or_else(|| self.deciding_row()).unwrap_or(0);
        self.cursor.jump(at, self.rows.len(), height);
        true
    }

    /// Takes in what the rest of the box says. True when something is different now.
    pub fn take_beside(&mut self, beside: Beside) -> bool {
        let known = self.beside.as_ref().map(|before| &before.causes);
        let is_news = beside.number == self.number && known != Some(&beside.causes);
        if is_news {
            self.beside = Some(beside);
        }
        is_news
    }

    /// Takes in the ways out. True when something is different now.
    pub fn take_offers(&mut self, offers: Offers) -> bool {
        let is_ours = offers.number == self.number;
        let is_news = is_ours && self.offers.as_ref() != Some(&offers.list);
        if is_ours {
            self.done = offers.number;
        }
        if is_news {
            self.offer = self.offer.min(offers.list.len().saturating_sub(1));
            self.offers = Some(offers.list);
        }
        is_news
    }

    /// The path has so many rows on the screen now.
    pub fn resize(&mut self, height: usize) {
        let spot = self.spot_at(self.cursor.at);
        self.fit(height);
        let at = self.row_of(spot).unwrap_or(self.cursor.at);
        self.cursor.go(at, self.rows.len(), height);
    }

    /// Makes the rows: with every rule where there is room for that, else with what matters.
    fn fit(&mut self, height: usize) {
        self.roomy = true;
        self.list();
        if self.rows.len() > height {
            self.roomy = false;
            self.list();
        }
    }

    /// The row that stands for a place on the board.
    fn row_of(&self, spot: Option<Spot>) -> Option<usize> {
        let mut rows = 0..self.rows.len();
        rows.find(|at| spot.is_some() && self.spot_at(*at) == spot)
    }

    /// Moves the cursor.
    pub fn go(&mut self, by: isize, height: usize) {
        let at = self.cursor.at.saturating_add_signed(by);
        self.cursor.go(at, self.rows.len(), height);
    }

    /// Opens the fold under the cursor. False where there is none.
    pub fn unfold(&mut self, height: usize) -> bool {
        let row = self.rows.get(self.cursor.at).copied();
        let Some(fold @ (Row::Passed(..) | Row::Fold(..))) = row else {
            return false;
        };
        self.open.push(fold);
        self.list();
        self.cursor.go(self.cursor.at, self.rows.len(), height);
        true
    }

    /// Opens everything that is folded, or folds it all again.
    pub fn unfold_all(&mut self, height: usize) {
        let spot = self.spot_at(self.cursor.at);
        self.all = !self.all;
        self.open.clear();
        self.list();
        let at = self
            .row_of(spot)
            .or_else(|| self.deciding_row())
            .unwrap_or(0);
        self.cursor.jump(at, self.rows.len(), height);
    }

    /// The row that decides.
    pub fn deciding_row(&self) -> Option<usize> {
        let decides = |row: &Row| match row {
            Row::Step(at) => self.step(*at).is_some_and(|step| self.decides(step.place)),
            Row::End => true,
            _ => false,
        };
        self.rows.iter().position(decides)
    }

    /// This place decides.
    pub fn decides(&self, place: Place) -> bool {
        let by = self
            .answer
            .as_ref()
            .and_then(|answer| answer.explanation.by);
        by == Some(Decider::Place(place))
    }

    /// The packet gets through, and another one of its connection is stopped: the first such.
    pub fn blocked_part(&self) -> Option<&Other> {
        let answer = self.answer.as_ref()?;
        let passes = answer.explanation.verdict == Verdict::Accept;
        let mut others = answer.others.iter().filter(|_| passes);
        others.find(|other| other.is_blocked())
    }

    /// A step of the path.
    pub fn step(&self, at: usize) -> Option<&Step> {
        self.answer.as_ref()?.explanation.path.get(at)
    }

    /// The ruleset of a place.
    pub fn held(&self, place: Place) -> Option<&Held> {
        self.answer.as_ref()?.sets.get(place.ruleset)
    }

    /// What a row stands for on the board.
    pub fn spot_at(&self, row: usize) -> Option<Spot> {
        let place = match *self.rows.get(row)? {
            Row::Chain(at) | Row::Passed(at, _) => Place {
                rule: None,
                ..self.step(at)?.place
            },
            Row::Fold(at, _) | Row::Step(at) => self.step(at)?.place,
            Row::Would(place) => place,
            Row::End => return None,
        };
        Some(Spot {
            id: self.held(place)?.id,
            chain: place.chain,
            rule: place.rule,
        })
    }

    /// Makes the rows.
    fn list(&mut self) {
        let Some(answer) = &self.answer else {
            self.rows.clear();
            return;
        };
        let path = &answer.explanation.path;
        let mut rows = Vec::new();
        let mut from = 0;
        let mut would = answer.explanation.would_accept;
        while let Some(first) = path.get(from) {
            let chain = |step: &Step| (step.hook, step.place.ruleset, step.place.chain);
            let rest = path.iter().skip(from);
            let length = rest.take_while(|step| chain(step) == chain(first)).count();
            let to = from + length;
            self.list_chain(&mut rows, path, from, to);
            // The rule that would have accepted stands below the one that decides, if it is of that chain.
            let decided = path.get(from..to).unwrap_or_default().iter();
            let mut decided = decided.filter(|step| self.decides(step.place));
            let near = |place: &Place| {
                (place.ruleset, place.chain) == (first.place.ruleset, first.place.chain)
            };
            if decided.next().is_some() && would.as_ref().is_some_and(near) {
                rows.extend(would.take().map(Row::Would));
            }
            from = to;
        }
        let by = answer.explanation.by;
        if !matches!(by, Some(Decider::Place(_))) {
            rows.push(Row::End);
        }
        rows.extend(would.map(Row::Would));
        self.rows = rows;
    }

    /// The rows of one chain.
    fn list_chain(&self, rows: &mut Vec<Row>, path: &[Step], from: usize, to: usize) {
        let matters = |step: &Step| {
            let passes = step.answer == Answer::No || step.place.rule.is_none();
            !passes || self.decides(step.place)
        };
        let steps = path.get(from..to).unwrap_or_default();
        let passed = Row::Passed(from, to);
        if !steps.iter().any(matters) && !self.is_open(passed) {
            rows.push(passed);
            return;
        }
        rows.push(Row::Chain(from));
        let mut at = from;
        while at < to {
            let is_no = |step: &&Step| step.answer == Answer::No;
            let run = path.iter().take(to).skip(at).take_while(is_no).count();
            let fold = Row::Fold(at, at + run);
            if run < SHORT || self.roomy || self.is_open(fold) {
                let shown = run.max(1);
                rows.extend((at..at + shown).map(Row::Step));
                at += shown;
            } else {
                rows.push(fold);
                at += run;
            }
        }
    }

    fn is_open(&self, fold: Row) -> bool {
        self.all || self.open.contains(&fold)
    }
}

/// Reads a typed packet; what is wrong with it in words.
pub fn read_line(text: &str) -> Result<Probe, String> {
    if text.trim().is_empty() {
        return Err(String::new());
    }
    read_words(text).map_err(|error| error.to_string())
}
