//! Entries built by hand in both layouts: whole, changed and cut short.

use super::*;
use proptest::prelude::*;

/// An entry with a target of that name and, for ERROR, that chain name.
fn entry(layout: Layout, target: &[u8], chain: &[u8], packets: u64) -> Vec<u8> {
    let length = layout.header + 64;
    let mut bytes = vec![0; length];
    let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    let header = u16::try_from(layout.header).unwrap();
    put(&mut bytes, layout.target_offset, &header.to_ne_bytes());
    let next = u16::try_from(length).unwrap();
    put(&mut bytes, layout.next_offset, &next.to_ne_bytes());
    put(&mut bytes, layout.counters, &packets.to_ne_bytes());
    put(&mut bytes, layout.header + TARGET_NAME_AT, target);
    put(&mut bytes, layout.header + ERROR_NAME_AT, chain);
    bytes
}

/// INPUT of one rule and a policy, FORWARD of a policy, user chain `web` of two rules.
fn table(layout: Layout) -> (Info, Vec<u8>) {
    let parts = [
        entry(layout, b"", b"", 11),
        entry(layout, b"", b"", 12),
        entry(layout, b"", b"", 13),
        entry(layout, b"ERROR", b"web", 0),
        entry(layout, b"LOG", b"", 14),
        entry(layout, b"", b"", 15),
        entry(layout, b"", b"", 0),
        entry(layout, b"ERROR", b"ERROR", 0),
    ];
    let one = u32::try_from(parts[0].len()).unwrap();
    let blob = parts.concat();
    let info = Info {
        valid_hooks: 0b110,
        hook_entry: [0, 0, 2 * one, 0, 0],
        underflow: [0, one, 2 * one, 0, 0],
        entries: 8,
        size: u32::try_from(blob.len()).unwrap(),
    };
    (info, blob)
}

#[test]
fn chains_leave_heads_policies_and_returns_out() {
    for family in [Family::V4, Family::V6] {
        let layout = Layout::of(family);
        let (info, blob) = table(layout);
        let found = chains(layout, &info, &blob).unwrap();
        let brief: Vec<_> = found
            .iter()
            .map(|c| (c.name.as_slice(), c.builtin, c.first, c.rules))
            .collect();
        assert_eq!(
            brief,
            [
                (&b"INPUT"[..], true, 0, 1),
                (b"FORWARD", true, 2, 0),
                (b"web", false, 4, 2)
            ]
        );
    }
}

#[test]
fn the_hash_ignores_counters_and_nothing_else() {
    let layout = Layout::of(Family::V4);
    let (_, blob) = table(layout);
    let state = foldhash::fast::FixedState::default();
    let hash = |blob: &[u8]| read(layout, blob, &state, &mut Vec::new()).unwrap();
    let length = layout.header + 64;
    for at in 0..length {
        let mut other = blob.clone();
        other[at] ^= 1;
        if at / 2 == layout.next_offset / 2 {
            continue; // another length is another blob, see below
        }
        let counter = (layout.counters..layout.counters + 16).contains(&at);
        assert_eq!(hash(&other) == hash(&blob), counter, "byte {at}");
    }
}

#[test]
fn counters_come_in_order() {
    let layout = Layout::of(Family::V6);
    let (_, blob) = table(layout);
    let mut counters = Vec::new();
    read(
        layout,
        &blob,
        &foldhash::fast::FixedState::default(),
        &mut counters,
    )
    .unwrap();
    let packets: Vec<u64> = counters.iter().map(|c| c.packets).collect();
    assert_eq!(packets, [11, 12, 13, 0, 14, 15, 0, 0]);
}

#[test]
fn every_cut_is_an_error_or_fewer_entries() {
    let layout = Layout::of(Family::V4);
    let (info, blob) = table(layout);
    for end in 1..blob.len() {
        assert!(chains(layout, &info, &blob[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(Info::parse(&[0; INFO_LEN - 1]), Err(BlobError::Info(83)));
    assert!(Info::parse(&[0; INFO_LEN]).is_ok());
}

proptest! {
    #[test]
    fn no_content_does_harm(
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        hooks in any::<[u32; 5]>(),
    ) {
        let layout = Layout::of(Family::V4);
        let (mut info, mut blob) = table(layout);
        for (index, value) in noise {
            let at = index.index(blob.len());
            blob[at] = value;
        }
        let _ = chains(layout, &info, &blob);
        info.hook_entry = hooks;
        let _ = chains(layout, &info, &blob);
        let _ = read(layout, &blob, &foldhash::fast::FixedState::default(), &mut Vec::new());
    }
}
