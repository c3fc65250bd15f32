//! Expressions built by hand: which of them the saved text tells the truth about.

use super::*;
use proptest::prelude::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    let name = attribute(1, format!("{name}\0").as_bytes());
    attribute(1, &[name, attribute(2, &data.concat())].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    attribute(kind, &attribute(attr::DATA_VALUE, bytes))
}

/// Loads `length` bytes at `offset` of a header into register 1.
fn load(base: u32, offset: u32, length: u32) -> Vec<u8> {
    expression(
        "payload",
        &[
            number(1, 1),
            number(2, base),
            number(3, offset),
            number(4, length),
        ],
    )
}

fn compare(register: u32, operation: u32, bytes: &[u8]) -> Vec<u8> {
    expression(
        "cmp",
        &[number(1, register), number(2, operation), value(3, bytes)],
    )
}

fn verdict() -> Vec<u8> {
    expression("immediate", &[number(1, VERDICT)])
}

#[test]
fn what_a_rule_does_beside_its_text() {
    let lookup = |more: &[Vec<u8>]| {
        let set = [attribute(1, b"good\0"), number(2, 1)];
        expression("lookup", &[&set[..], more].concat())
    };
    let write = expression("payload", &[number(5, 1), number(2, 1)]);
    let set_mark = expression("meta", &[number(2, 3), number(3, 1)]);
    let trace = expression("meta", &[number(2, META_NFTRACE), number(3, 1)]);
    let value = expression("immediate", &[number(1, 1)]);
    for (expressions, more) in [
        (vec![load(1, 12, 4), lookup(&[]), verdict()], false),
        // A map of verdicts; a map of values.
        (vec![load(1, 12, 4), lookup(&[number(3, VERDICT)])], true),
        (vec![load(1, 12, 4), lookup(&[number(3, 2)])], false),
        (vec![value.clone(), write, verdict()], true),
        (vec![value.clone(), set_mark, verdict()], true),
        (vec![value, trace, verdict()], false),
        (vec![verdict(), verdict()], true),
        (vec![expression("target", &[]), verdict()], true),
        (vec![expression("dynset", &[]), verdict()], true),
        (vec![expression("log", &[]), verdict()], false),
        (vec![attribute(1, &[])], true),
    ] {
        assert_eq!(does_more(&expressions.concat()), more, "{expressions:?}");
    }
}

fn judged(expressions: &[Vec<u8>]) -> Result<(), Why> {
    judge(Family::V4, &expressions.concat())
}

#[test]
fn an_address_compared_whole_is_truthful() {
    let source = load(1, 12, 4);
    assert_eq!(
        judged(&[source.clone(), compare(1, 0, &[1, 2, 3, 4]), verdict()]),
        Ok(())
    );
    // Less than it, of another register, of another length, or not at all.
    let field = Field::Source;
    for test in [
        compare(1, 2, &[1, 2, 3, 4]),
        compare(2, 0, &[1, 2, 3, 4]),
        compare(1, 0, &[1, 2, 3]),
        Vec::new(),
    ] {
        let found = judged(&[source.clone(), test, verdict()]);
        assert_eq!(found, Err(Why::Test(field)));
    }
}

#[test]
fn ports_mean_nothing_before_the_protocol() {
    let port = [load(2, 2, 2), compare(1, 0, &[0, 22])].concat();
    assert_eq!(judged(std::slice::from_ref(&port)), Err(Why::UnknownField));
    let tcp = [load(1, 9, 1), compare(1, 0, &[6])].concat();
    assert_eq!(judged(&[tcp, port.clone()]), Ok(()));
    let not_tcp = [load(1, 9, 1), compare(1, 1, &[6])].concat();
    assert_eq!(judged(&[not_tcp, port]), Err(Why::UnknownField));
}

#[test]
fn order_of_counter_and_statements() {
    let counter = expression("counter", &[]);
    let target = expression("target", &[]);
    assert_eq!(judged(&[counter.clone(), target.clone()]), Ok(()));
    assert_eq!(
        judged(&[counter.clone(), counter.clone()]),
        Err(Why::Counters)
    );
    assert_eq!(judged(&[target.clone(), verdict()]), Err(Why::Statements));
    assert_eq!(judged(&[counter, load(1, 12, 4)]), Err(Why::CountsFirst));
    assert_eq!(judged(&[expression("lookup", &[])]), Err(Why::Lookup));
    assert_eq!(
        judged(&[expression("quota", &[])]),
        Err(Why::Expression("quota".into()))
    );
    assert_eq!(judged(&[]), Ok(()));
}

proptest! {
    #[test]
    fn no_expressions_do_harm(
        noise in proptest::collection::vec(any::<u8>(), 0..64),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = [
            load(1, 9, 1), compare(1, 0, &[6]), load(2, 2, 2), compare(1, 5, &[0, 22]),
            compare(1, 3, &[1, 22]), expression("counter", &[]), verdict(), noise.clone(),
        ].concat();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        for family in [Family::V4, Family::V6] {
            let _ = judge(family, &bytes);
            let _ = judge(family, &noise);
        }
    }
}
