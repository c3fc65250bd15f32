//! Which chains are read when, with a door that only keeps a diary.

use std::sync::{Arc, Mutex};

use super::*;
use crate::netfilter::counters::{Attached, CounterDoor, Mark};
use crate::ruleset::{Backend, CounterSet, Family, Origin, Ruleset};
use crate::runtime::poller::{Budget, Source};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps which chains were read; every chain leads to all others.
struct Diary(Arc<Mutex<Vec<ChainIdx>>>);

impl CounterDoor for Diary {
    fn mark(&mut self) -> Result<Mark, CounterError> {
        Ok(Mark(1))
    }

    fn attach(&mut self, _: &Arc<Ruleset>) -> Result<Attached, CounterError> {
        Err(CounterError::Unsettled { tries: 0 })
    }

    fn read(
        &mut self,
        chain: ChainIdx,
        _: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) -> Result<(), CounterError> {
        self.0.lock().unwrap().push(chain);
        looked.push(Looked {
            chain,
            look: Look::Same,
        });
        Ok(())
    }

    fn can_follow(&self) -> bool {
        true
    }

    fn follow(&mut self, entered: &mut Vec<ChainIdx>) {
        entered.extend((0..3).map(ChainIdx));
    }
}

/// INPUT, `big` that takes four seconds, `other`; all bound to a diary.
struct Scene {
    live: Live,
    purse: Purse,
    diary: Arc<Mutex<Vec<ChainIdx>>>,
    now: Instant,
}

const INPUT: ChainIdx = ChainIdx(0);
const BIG: ChainIdx = ChainIdx(1);
const OTHER: ChainIdx = ChainIdx(2);

fn scene() -> Scene {
    let dump = "*filter\n:INPUT ACCEPT [0:0]\n:big - [0:0]\n:other - [0:0]\n-A INPUT -j big\n\
                COMMIT\n";
    let origin = Origin::new(Family::V4, Backend::Nft);
    let ruleset = Arc::new(Ruleset::parse(dump.as_bytes().to_vec(), origin).unwrap());
    assert_eq!(ruleset.find_chain("filter", "other"), Some(OTHER));
    let diary = Arc::default();
    let door = Box::new(Diary(Arc::clone(&diary)));
    let mut live = Live::new(ruleset, Some(door), Source::Kernel, &[]);
    live.prices.paid(BIG, 4 * SECOND);
    let now = Instant::now();
    let purse = Purse::new(Budget::default(), now);
    Scene {
        live,
        purse,
        diary,
        now,
    }
}

impl Scene {
    /// What a tick reads.
    fn tick(&mut self) -> Vec<ChainIdx> {
        self.now += SECOND;
        self.purse.begin_tick(SECOND, self.now);
        let mut tick = Tick::new(&mut self.purse, &|| false);
        self.live.look_at_view(&mut tick).unwrap();
        self.live.look_beyond(&mut tick).unwrap();
        std::mem::take(&mut self.diary.lock().unwrap())
    }
}

#[test]
fn the_cheap_chain_in_view_is_read_at_every_tick_whatever_is_owed() {
    let mut scene = scene();
    scene.live.watch(BIG);
    scene.live.watch(INPUT);
    scene.purse.charge(100 * SECOND);
    for _ in 0..100 {
        assert_eq!(scene.tick(), [INPUT]);
    }
    scene.now += 2000 * SECOND;
    assert_eq!(scene.tick()[..2], [INPUT, BIG], "nothing is owed any more");
}

#[test]
fn a_dear_chain_out_of_view_is_left_out_and_blocks_nothing() {
    let mut scene = scene();
    for _ in 0..5 {
        let read = scene.tick();
        assert!(read.contains(&INPUT) && read.contains(&OTHER), "{read:?}");
        assert!(!read.contains(&BIG), "{read:?}");
    }
}

#[test]
fn nothing_is_queued_twice_while_nothing_may_be_followed() {
    let mut scene = scene();
    scene.purse.charge(100 * SECOND);
    for _ in 0..50 {
        assert_eq!(scene.tick(), []);
    }
    assert!(scene.live.queue.len() <= 3 && scene.live.again.len() <= 3);
}

#[test]
fn everything_asked_for_is_read_whatever_is_owed_the_dear_last() {
    let mut scene = scene();
    scene.purse.charge(100 * SECOND);
    scene.live.watch(OTHER);
    scene.live.ask_for_all();
    while scene.live.next_asked().is_some() {
        let mut tick = Tick::new(&mut scene.purse, &|| false);
        scene.live.look_at_asked(&mut tick).unwrap();
    }
    assert_eq!(*scene.diary.lock().unwrap(), [OTHER, INPUT, BIG]);
}

#[test]
fn a_call_is_heard_between_two_chains() {
    let mut scene = scene();
    scene.live.ask_for_all();
    let mut tick = Tick::new(&mut scene.purse, &|| true);
    scene.live.look_at_asked(&mut tick).unwrap();
    scene.live.look_beyond(&mut tick).unwrap();
    assert_eq!(scene.diary.lock().unwrap().len(), 1);
    assert!(scene.live.next_asked().is_some(), "the rest is for later");
}
