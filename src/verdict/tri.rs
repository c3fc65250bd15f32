//! Yes, no, or not known: the answers of a condition.

/// What a condition says of a packet of which not everything may be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    Yes,
    No,
    Unknown,
}

impl Tri {
    /// Yes or no.
    pub(super) fn of(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }

    /// The answer of `test` where the value is known.
    pub(super) fn of_known<T>(value: Option<T>, test: impl FnOnce(T) -> bool) -> Self {
        value.map_or(Self::Unknown, |value| Self::of(test(value)))
    }

    /// Turned round under a `!`; what is not known stays so.
    pub(super) fn turned(self, invert: bool) -> Self {
        match self {
            Self::Yes if invert => Self::No,
            Self::No if invert => Self::Yes,
            other => other,
        }
    }

    /// All of several: one no is enough for no.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    /// One of several: one yes is enough for yes.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tri::{self, No, Unknown, Yes};

    #[test]
    fn one_certain_answer_outweighs_an_uncertain_one() {
        for (one, other, and, or) in [
            (Yes, Yes, Yes, Yes),
            (Yes, No, No, Yes),
            (Yes, Unknown, Unknown, Yes),
            (No, Unknown, No, Unknown),
            (Unknown, Unknown, Unknown, Unknown),
        ] {
            assert_eq!((one.and(other), other.and(one)), (and, and));
            assert_eq!((one.or(other), other.or(one)), (or, or));
        }
        assert_eq!((Yes.turned(true), Unknown.turned(true)), (No, Unknown));
        assert_eq!(Tri::of_known(None::<u8>, |_| true), Unknown);
    }
}
