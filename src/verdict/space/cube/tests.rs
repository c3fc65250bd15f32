//! Taking one box out of another loses no packet and counts none twice.

use proptest::prelude::*;

use super::*;

fn cube() -> impl Strategy<Value = Cube> {
    let span = (0..6_u128, 0..6_u128);
    let port = (0..5_u16, 0..5_u16);
    (span.clone(), span, port, 1..4_u64, 1..4_u8, 1..8_u8).prop_map(
        |(src, name, port, protos, ct, pieces)| Cube {
            src: Span::new(src.0.min(src.1), src.0.max(src.1)),
            input: Span::new(name.0.min(name.1), name.0.max(name.1)),
            dport: Span::new(port.0.min(port.1), port.0.max(port.1)),
            protos: Bytes([0, protos, 0, 0]),
            ct,
            pieces,
            ..Cube::all(false)
        },
    )
}

proptest! {
    /// Every packet of the one is in what both hold or in one box of what is left, and nowhere else.
    #[test]
    fn what_is_taken_and_what_is_left_are_the_whole(one in cube(), other in cube(), seeds in any::<[u64; 40]>()) {
        let mut left = Vec::new();
        one.minus(&other, |cube| left.push(cube));
        let both = one.and(&other);
        prop_assert_eq!(both.is_some(), one.meets(&other));
        prop_assert_eq!(left.is_empty(), one.is_within(&other));
        for seed in seeds {
            let point = one.some(seed);
            prop_assert!(one.holds(&point));
            let times = left.iter().filter(|cube| cube.holds(&point)).count();
            prop_assert_eq!(times, usize::from(!other.holds(&point)));
            prop_assert_eq!(both.is_some_and(|both| both.holds(&point)), other.holds(&point));
            let strange = other.some(seed);
            if !one.holds(&strange) {
                prop_assert!(!left.iter().any(|cube| cube.holds(&strange)));
            }
        }
    }
}

#[test]
fn bytes_are_counted_and_picked() {
    let bits = Bytes::those(|value| value == 6 || value == 255);
    assert_eq!((bits.count(), bits.only()), (2, None));
    assert_eq!([bits.nth(0), bits.nth(1), bits.nth(2)], [6, 255, 6]);
    assert_eq!(Bytes::one(200).only(), Some(200));
    assert_eq!(Bytes::NONE.only(), None);
    assert_eq!(
        Span::new(1_u16, 9).without(&[Span::new(0, 2), Span::new(5, 5)]),
        [Span::new(3, 4), Span::new(6, 9)]
    );
}
