//! The packets that a rule asks for, all its conditions together.

use super::ask::{Ask, Atom, ask};
use super::cube::Cube;
use super::lasts::{Lasts, looks};
use crate::verdict::cond::Cond;

/// Boxes that a rule may be made of; what would take more is left wider and said to be vague.
const CUBES: usize = 512;

/// The packets that meet all conditions of a rule: those in one of the boxes for which every question is
/// answered as wanted.
#[derive(Clone, Debug)]
pub(in super::super) struct Region {
    /// Boxes that do not overlap.
    pub cubes: Vec<Cube>,
    /// Questions whose answers last.
    pub atoms: Vec<Atom>,
    /// It asks something beside whose answer does not last: some packets of the boxes may not match, and
    /// it cannot be told which.
    pub vague: bool,
}

impl Region {
    /// Of conditions as they stand in a table; in `raw` the state of a packet may change on the way.
    pub(in super::super) fn of(conds: &[Cond], v6: bool, raw: bool) -> Self {
        let mut region = Self {
            cubes: vec![Cube::all(v6)],
            atoms: Vec::new(),
            vague: false,
        };
        for cond in conds {
            let asked = match cond {
                Cond::State(_) if raw => Ask::atom(cond, true, Lasts::Change(looks::STATE)),
                _ => ask(cond, v6),
            };
            if let Some(cubes) = asked.cubes {
                region.narrow(&cubes);
            }
            match asked.atom {
                Some(atom) if atom.lasts == Lasts::Once => region.vague = true,
                Some(atom) if !region.atoms.contains(&atom) => region.atoms.push(atom),
                _ => {}
            }
        }
        let atoms = &region.atoms;
        let opposed = |one: &Atom| {
            let turned = |other: &Atom| other.key == one.key && other.wanted != one.wanted;
            atoms.iter().any(turned)
        };
        if atoms.iter().any(opposed) {
            region.cubes.clear();
        }
        region
    }

    fn narrow(&mut self, wanted: &[Cube]) {
        if let ([own], [wanted]) = (self.cubes.as_mut_slice(), wanted) {
            match own.and(wanted) {
                Some(both) => *own = both,
                None => self.cubes.clear(),
            }
            return;
        }
        if self.cubes.len().saturating_mul(wanted.len()) > CUBES {
            self.vague = true;
            return;
        }
        let both = |own: &Cube| wanted.iter().filter_map(|cube| own.and(cube)).collect();
        self.cubes = self
            .cubes
            .iter()
            .flat_map(|own| -> Vec<Cube> { both(own) })
            .collect();
    }

    /// No packet meets it.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.cubes.is_empty()
    }
}
