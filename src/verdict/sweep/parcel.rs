//! Packets that go the same way: an area of them as they arrived, and what has become of them since.
//!
//! The area always says what the packets were when they arrived, which is what a person asks about. What
//! targets and hooks made of them stands beside it ([`Become`]): a value in the place of what arrived, or
//! nothing known. A condition is asked of the area with those values put in ([`Parcel::view`]), and what it
//! leaves of the area is read back without them.

use crate::verdict::Path;
use crate::verdict::space::area::{Area, List};
use crate::verdict::space::cube::{Cube, Span, piece};
use crate::verdict::space::lasts::looks;
use crate::verdict::state::{LO, To, ct};
use crate::verdict::thread::By;

/// What became of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field<T> {
    /// As it arrived.
    Own,
    Is(T),
    /// Nothing that is known.
    Lost,
}

/// Whether NAT changed an end of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Nat {
    /// What conntrack knows from before: nothing of a first packet.
    Before,
    Is(bool),
    Lost,
}

/// What hooks and targets have made of the packets. The same for all of a parcel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Become {
    pub path: Path,
    pub to: To,
    pub src: Field<u128>,
    pub dst: Field<u128>,
    pub sport: Field<u16>,
    pub dport: Field<u16>,
    /// The outgoing interface that rules see, and the one by which it will leave.
    pub output: Field<u128>,
    pub leaves: Field<u128>,
    /// The state that rules see, where conntrack does not say it.
    pub ct: Option<u8>,
    pub ct_settled: bool,
    /// Bits of the mark that are known, and those that are set of them.
    pub mark: (u32, u32),
    pub connmark: Field<u32>,
    pub dnat: Nat,
    pub snat: Nat,
    pub dst_bound: bool,
    pub src_bound: bool,
    /// Tells apart what was changed on the way, for each of [`looks`], and what NAT changed: answers last between
    /// changes.
    pub changes: [u64; looks::KINDS],
    /// The same of the members of sets: which, by a hash of its name, and what was done to it.
    pub touched: Vec<(u64, u64)>,
    pub translations: u64,
}

/// See the file's essay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parcel {
    pub area: Area,
    /// Questions that were answered, by number, in order.
    pub known: Vec<(u32, bool)>,
    pub now: Become,
    /// Who let it pass, where that is asked: of the filter table, else of the last one.
    pub passed: By,
    /// How much that says, as [`Program::weight`](crate::verdict::Program) has it.
    pub passed_weight: u8,
}

impl Parcel {
    /// Packets of that way as they arrive: those that conntrack has seen already are another parcel.
    /// `pieces` are the parts of a datagram that come.
    pub(super) fn arriving(path: Path, area: &Area, pieces: u8) -> Vec<Self> {
        let nothing = Span::point(0);
        let some = Span::new(1, u128::MAX);
        let (input, output) = match path {
            Path::Input => (some, nothing),
            Path::Forward => (some, some),
            Path::Output => (nothing, some),
        };
        let way = Area::of(&Cube {
            input,
            output,
            pieces,
            ..Cube::all(true)
        });
        let way = match path {
            // What a program sends is cut up after the last rule (`ip_finish_output`).
            Path::Output => Area {
                pieces: pieces & piece::WHOLE,
                ..way
            },
            _ => way,
        };
        let Some(area) = area.and(&way) else {
            return Vec::new();
        };
        let now = |seen: bool| Become {
            path,
            to: To::Said,
            src: Field::Own,
            dst: Field::Own,
            sport: Field::Own,
            dport: Field::Own,
            output: match path {
                Path::Forward => Field::Is(0),
                _ => Field::Own,
            },
            leaves: Field::Own,
            ct: (!seen).then_some(ct::INVALID),
            ct_settled: seen,
            // A program may have given a mark to what it sends; traffic control, a native chain at ingress or
            // a tunnel to what arrives.
            mark: (0, 0),
            connmark: Field::Own,
            dnat: Nat::Before,
            snat: Nat::Before,
            dst_bound: false,
            src_bound: false,
            changes: [0; looks::KINDS],
            touched: Vec::new(),
            translations: 0,
        };
        let parcel = |area: Area, seen: bool| Self {
            area,
            known: Vec::new(),
            now: now(seen),
            passed: By::Nobody,
            passed_weight: 0,
        };
        if path == Path::Output {
            return vec![parcel(area, false)];
        }
        let loopback = Area::of(&Cube {
            input: Span::point(LO),
            ..Cube::all(true)
        });
        let mut parcels: Vec<Self> = Vec::new();
        parcels.extend(area.and(&loopback).map(|area| parcel(area, true)));
        area.minus(&loopback, |area| parcels.push(parcel(area, false)));
        parcels
    }

    /// The packets as rules see them; what is lost is as it arrived.
    pub(super) fn view(&self) -> Area {
        let mut view = self.area.clone();
        macro_rules! put {
            ($($field:ident),*) => {$(
                if let Field::Is(value) = self.now.$field {
                    view.$field = List::one(Span::point(value));
                }
            )*};
        }
        put!(src, dst, output, sport, dport);
        if let Some(state) = self.now.ct {
            view.ct = state;
        }
        view
    }

    /// A part of the view, as packets that arrived.
    pub(super) fn part(&self, view: Area) -> Self {
        let mut area = view;
        macro_rules! back {
            ($($field:ident),*) => {$(
                if self.now.$field != Field::Own {
                    area.$field = self.area.$field.clone();
                }
            )*};
        }
        back!(src, dst, sport, dport, output);
        if self.now.ct.is_some() {
            area.ct = self.area.ct;
        }
        Self {
            area,
            known: self.known.clone(),
            now: self.now.clone(),
            ..*self
        }
    }

    /// Widens what a condition asks to what can be told: whether it asks for anything that is lost.
    pub(super) fn forget(&self, wanted: &mut Area) -> bool {
        let mut asks = false;
        macro_rules! lost {
            ($($field:ident),*) => {$(
                if self.now.$field == Field::Lost && !self.area.$field.is_within(&wanted.$field) {
                    asks = true;
                    wanted.$field = self.area.$field.clone();
                }
            )*};
        }
        lost!(src, dst, sport, dport, output);
        asks
    }

    /// Splits off those that are in `wanted`, as rules see them.
    pub(super) fn divide(self, wanted: &Area) -> (Vec<Self>, Vec<Self>) {
        let view = self.view();
        let inside = view.and(wanted).map(|both| self.part(both));
        let mut outside = Vec::new();
        view.minus(wanted, |left| outside.push(self.part(left)));
        (inside.into_iter().collect(), outside)
    }

    /// The answer to a question that was asked before.
    pub(super) fn answer(&self, question: u32) -> Option<bool> {
        let at = self.known.binary_search_by_key(&question, |(own, _)| *own);
        self.known.get(at.ok()?).map(|(_, answer)| *answer)
    }

    /// Those of the packets for which the answer is that.
    pub(super) fn answering(mut self, question: u32, answer: bool) -> Self {
        if let Err(at) = self.known.binary_search_by_key(&question, |(own, _)| *own) {
            self.known.insert(at, (question, answer));
        }
        self
    }
}

/// A box around all parcels as rules see them; `None` of none.
pub(super) fn around(parcels: &[Parcel]) -> Option<Area> {
    let all = Cube::all(true);
    let mut around: Option<Cube> = None;
    for parcel in parcels {
        let mut view = parcel.view().around()?;
        macro_rules! lost {
            ($($field:ident),*) => {$(
                if parcel.now.$field == Field::Lost {
                    view.$field = all.$field;
                }
            )*};
        }
        lost!(src, dst, sport, dport, output);
        match &mut around {
            None => around = Some(view),
            Some(around) => around.widen(&view),
        }
    }
    around.as_ref().map(Area::of)
}
