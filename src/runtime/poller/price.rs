//! What reading each chain will cost, before it is read.
//!
//! The budget is charged for what was used, but a chain that takes the kernel seconds must be known for
//! one *before* it holds everything else up. What is known from its last readings is best; for a chain
//! never read the number of rules says enough.

use std::time::Duration;

use crate::ruleset::{Backend, ChainIdx, Ruleset};

/// Of any reading: the questions and the answers' frames.
const EACH_READING: f64 = 16e-6;
/// Of each rule that is carried over.
const EACH_RULE: f64 = 1e-6;
/// nft, of each pair of rules: every resumed message of a dump walks the chain from its first rule
/// (net/netfilter/nf_tables_api.c, `__nf_tables_dump_rules`). Some 4 s at 100,000 rules.
const EACH_PAIR: f64 = 4e-10;

/// The price of each chain of one ruleset.
#[derive(Clone, Debug)]
pub(super) struct Prices {
    /// Parallel to the chains, in seconds: the last reading and the one before it.
    known: Vec<Option<(f32, f32)>>,
    /// Parallel to the chains, in seconds: what the rules say.
    guessed: Vec<f32>,
    by_chain: bool,
}

impl Prices {
    /// From the numbers of rules. Where one reading is a whole table (legacy) or everything (`by_tool`),
    /// every chain has the price of all.
    pub(super) fn new(ruleset: &Ruleset, by_tool: bool) -> Self {
        let by_chain = ruleset.backend() == Some(Backend::Nft) && !by_tool;
        let of_table = |table| {
            let chains = ruleset.table(table).chains();
            let rules = chains.iter().map(|chain| ruleset.chain(*chain).rules());
            rules.map(<[_]>::len).sum::<usize>()
        };
        let chains = ruleset.chains().iter();
        let guessed = if by_chain {
            chains.map(|chain| of_chain(chain.rules().len())).collect()
        } else if by_tool {
            let all = of_copy(ruleset.rule_count());
            chains.map(|_| all).collect()
        } else {
            let mut last = None;
            let price = chains.map(|chain| match last {
                Some((table, price)) if table == chain.table() => price,
                _ => {
                    let price = of_copy(of_table(chain.table()));
                    last = Some((chain.table(), price));
                    price
                }
            });
            price.collect()
        };
        Self {
            known: vec![None; ruleset.chains().len()],
            guessed,
            by_chain,
        }
    }

    /// Whether a chain has a price of its own, so that leaving one out makes the others no dearer.
    pub(super) fn are_by_chain(&self) -> bool {
        self.by_chain
    }

    /// What the next reading is expected to cost. The lower of the last two, so that one reading that the
    /// machine disturbed does not condemn a chain.
    pub(super) fn of(&self, chain: ChainIdx) -> Duration {
        let place = chain.0 as usize;
        let known = self.known.get(place).copied().flatten();
        let known = known.map(|(last, earlier)| last.min(earlier));
        let seconds = known.or_else(|| self.guessed.get(place).copied());
        Duration::try_from_secs_f32(seconds.unwrap_or_default()).unwrap_or_default()
    }

    /// A reading of `chain` cost that.
    pub(super) fn paid(&mut self, chain: ChainIdx, cost: Duration) {
        if let Some(known) = self.known.get_mut(chain.0 as usize) {
            let cost = cost.as_secs_f32();
            *known = Some((cost, known.map_or(cost, |(last, _)| last)));
        }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // a guess, in seconds
fn of_chain(rules: usize) -> f32 {
    let rules = rules as f64;
    (EACH_READING + EACH_RULE * rules + EACH_PAIR * rules * rules) as f32
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // a guess, in seconds
fn of_copy(rules: usize) -> f32 {
    (EACH_READING + EACH_RULE * rules as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{Family, Origin};

    fn ruleset(backend: Backend) -> Ruleset {
        let mut dump = b"*filter\n:INPUT ACCEPT [0:0]\n:big - [0:0]\n-A INPUT -j big\n".to_vec();
        for _ in 0..5000 {
            dump.extend_from_slice(b"-A big -p tcp\n");
        }
        dump.extend_from_slice(b"COMMIT\n");
        Ruleset::parse(dump, Origin::new(Family::V4, backend)).unwrap()
    }

    fn places(ruleset: &Ruleset) -> (ChainIdx, ChainIdx) {
        let place = |name| ruleset.find_chain("filter", name).unwrap();
        (place("INPUT"), place("big"))
    }

    #[test]
    fn the_guess_grows_with_the_square_of_the_chain() {
        assert!((3.5..4.5).contains(&of_chain(100_000)));
        assert!((0.000_1..0.000_15).contains(&of_chain(100)));
    }

    #[test]
    fn a_table_that_is_copied_whole_has_one_price() {
        let ruleset = ruleset(Backend::Legacy);
        let (small, big) = places(&ruleset);
        let prices = Prices::new(&ruleset, false);
        assert_eq!(prices.of(small), prices.of(big));
        assert!(prices.of(small) > Duration::from_millis(4));
    }

    #[test]
    fn what_was_paid_is_better_than_a_guess_and_once_is_not_a_habit() {
        let ruleset = ruleset(Backend::Nft);
        let (small, big) = places(&ruleset);
        let mut prices = Prices::new(&ruleset, false);
        assert!(prices.of(small) < Duration::from_micros(50));
        assert!(prices.of(big) > Duration::from_millis(10));
        prices.paid(small, Duration::from_millis(2));
        prices.paid(small, Duration::from_millis(500));
        assert!(prices.of(small) < Duration::from_millis(3));
        prices.paid(small, Duration::from_millis(500));
        assert!(prices.of(small) > Duration::from_millis(499));
    }
}
