//! The house rules, as tables and the functions that hold a file to them.
//!
//! Tables first: they are the design's own list and are meant to be read beside it. A room that comes
//! later is a row; a rule that needs more than a row is a function of one [`Source`].

use crate::source::{Name, Source};

/// Who may know whom: a room and the rooms that it may name. Arrows point down, so a row names only
/// rooms of later rows; a test holds the table to that.
///
/// Whoever may know a room may know what that room's types are made of, which are the [`PURE`] rooms
/// below it ([`may_know`] adds them). `main` alone is held to its one word.
pub const ARROWS: &[(&str, &str)] = &[
    ("main", "cli"),
    (
        "cli",
        "runtime ui app safety sandbox netfilter host audit verdict edit ruleset flow",
    ),
    ("runtime", "ui app safety sandbox netfilter host"),
    ("ui", "app audit verdict edit ruleset flow"),
    ("app", "audit verdict edit ruleset flow"),
    ("safety", "edit verdict netfilter host"),
    ("sandbox", "netfilter host"),
    ("netfilter", "ruleset flow"),
    ("host", "ruleset flow"),
    ("audit", "verdict ruleset flow"),
    ("verdict", "ruleset flow"),
    ("edit", "ruleset flow"),
    ("flow", ""),
    ("ruleset", ""),
];

/// Rooms without files, processes, sockets or clocks: time and facts are handed in.
pub const PURE: &[&str] = &["ruleset", "flow", "app", "edit", "verdict", "audit"];

/// What a pure room never names.
pub const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
];

/// Crates that are a door, and the rooms in which that door may stand.
pub const DOORS: &[(&str, &str)] = &[
    ("tokio", "cli runtime safety sandbox netfilter host"),
    ("nix", "cli runtime safety sandbox netfilter host"),
    ("libc", "netfilter sandbox"),
    ("netlink_sys", "netfilter host sandbox"),
    ("netlink_packet_core", "netfilter host sandbox"),
    ("netlink_packet_netfilter", "netfilter host sandbox"),
    ("netlink_packet_route", "host"),
    ("netlink_packet_sock_diag", "host"),
    ("ratatui", "ui runtime"),
    ("crossterm", "app ui runtime"),
    ("clap", "cli"),
    ("anyhow", "main cli runtime"),
];

/// Rooms that may speak to the kernel in its own layouts.
pub const RAW: &[&str] = &["netfilter", "sandbox"];

/// Where a key may be called by its name: the table of actions. Its rows stand in
/// `assets/keymap.toml`; everything else derives from it.
pub const KEY_FILES: &[&str] = &["app/action.rs"];

/// Lines of a file, its tests not counted. The design says "some 400"; this is where it ends.
pub const LONGEST: usize = 450;

/// The rooms that `room` may name, itself included; `None` for a room that is not in the table.
pub fn may_know(room: &str) -> Option<Vec<&'static str>> {
    let row = |wanted: &str| ARROWS.iter().find(|(name, _)| *name == wanted);
    let (own, direct) = row(room)?;
    let mut known = vec![*own];
    known.extend(direct.split_whitespace());
    if *own == "main" {
        return Some(known);
    }
    let mut at = 0;
    while let Some(next) = known.get(at).and_then(|name| row(name)) {
        for made_of in next.1.split_whitespace() {
            if PURE.contains(&made_of) && !known.contains(&made_of) {
                known.push(made_of);
            }
        }
        at += 1;
    }
    Some(known)
}

/// One breach of the design.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Defect {
    /// Relative to `src/`.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to do instead where that is not plain.
    pub what: String,
}

/// Everything wrong with these files. Files of test modules are left out.
pub fn defects(sources: &[Source]) -> Vec<Defect> {
    let test_modules: Vec<&Vec<String>> = sources.iter().flat_map(|s| &s.test_modules).collect();
    let mut found = Vec::new();
    for source in sources {
        if test_modules
            .iter()
            .any(|test| source.module.starts_with(test))
        {
            continue;
        }
        let mut say = |line: usize, what: String| {
            found.push(Defect {
                file: source.file.clone(),
                line,
                what,
            });
        };
        arrows(source, &mut say);
        doors(source, &mut say);
        purity(source, &mut say);
        raw(source, &mut say);
        keys(source, &mut say);
        shape(source, &mut say);
    }
    found.sort();
    found.dedup();
    found
}

fn arrows(source: &Source, say: &mut impl FnMut(usize, String)) {
    let room = source.room();
    if room == "lib" {
        for name in source.names.iter().filter(|name| name.imported) {
            let path = name.path.join("::");
            say(
                name.line,
                format!("lib.rs declares rooms and imports nothing: {path}"),
            );
        }
        return;
    }
    let Some(known) = may_know(room) else {
        say(1, format!("`{room}` is no room of the design (ARROWS)"));
        return;
    };
    for name in &source.names {
        let path = name.path.join("::");
        let whole =
            name.imported && matches!(path.as_str(), "crate" | "crate::*" | "std" | "std::*");
        if whole {
            say(name.line, format!("hides what it uses: use {path}"));
        }
        let [root, other, ..] = name.path.as_slice() else {
            continue;
        };
        if root == "crate" && other != "*" && !known.contains(&other.as_str()) {
            say(
                name.line,
                format!("forbidden arrow {room} -> {other}: {path}"),
            );
        }
    }
    for (attribute, line) in &source.attributes {
        if attribute == "path" {
            say(
                *line,
                "a module's file is found by its name: no #[path]".to_owned(),
            );
        }
    }
    for pair in source.names.windows(2) {
        if is(&pair[0], "extern") && is(&pair[1], "crate") {
            say(pair[0].line, "no extern crate".to_owned());
        }
    }
    for name in source.names.iter().filter(|name| is(name, "include")) {
        say(
            name.line,
            "no include!: the checker cannot follow it".to_owned(),
        );
    }
}

fn doors(source: &Source, say: &mut impl FnMut(usize, String)) {
    for (door, rooms) in DOORS {
        if rooms.split_whitespace().any(|room| room == source.room()) {
            continue;
        }
        for name in &source.names {
            let named = name.path.first().is_some_and(|first| first == door);
            if named && (name.imported || name.path.len() > 1) {
                say(
                    name.line,
                    format!("{} may not name the crate {door}", source.room()),
                );
            }
        }
    }
}

fn purity(source: &Source, say: &mut impl FnMut(usize, String)) {
    let room = source.room();
    if !PURE.contains(&room) {
        return;
    }
    for name in &source.names {
        let path = name.path.join("::").replacen("core::", "std::", 1);
        let impure = IMPURE
            .iter()
            .find(|door| path == **door || path.starts_with(&format!("{door}::")));
        if let Some(door) = impure {
            say(name.line, format!("{room} is pure and names {door}"));
        }
        let everything_of = ["std::io::*", "std::net::*", "std::os::*"].contains(&path.as_str());
        if everything_of {
            say(name.line, format!("{room} is pure and may import {path}"));
        }
        if path.ends_with("::now") {
            say(
                name.line,
                format!("{room} is pure and reads a clock: {path}"),
            );
        }
    }
    for (call, line) in &source.bare_calls {
        if call == "elapsed" {
            say(
                *line,
                format!("{room} is pure and reads a clock: .elapsed()"),
            );
        }
    }
}

fn raw(source: &Source, say: &mut impl FnMut(usize, String)) {
    let allowed = RAW.contains(&source.room());
    for name in &source.names {
        let is_raw = name
            .path
            .iter()
            .any(|word| word == "unsafe" || word == "unsafe_code");
        if is_raw && !allowed {
            say(
                name.line,
                format!("unsafe stands in {} only", RAW.join("/ and ")),
            );
        }
        let silenced = ["unwrap_used", "expect_used"];
        if let Some(lint) = name
            .path
            .iter()
            .find(|word| silenced.contains(&word.as_str()))
        {
            say(name.line, format!("the lint {lint} is silenced"));
        }
    }
}

fn keys(source: &Source, say: &mut impl FnMut(usize, String)) {
    if KEY_FILES.contains(&source.file.as_str()) {
        return;
    }
    let table = KEY_FILES.join(", ");
    for name in &source.names {
        let literal = name
            .path
            .windows(2)
            .any(|pair| matches!(pair[0].as_str(), "KeyCode" | "KeyModifiers") && pair[1] != "*");
        if literal {
            let path = name.path.join("::");
            say(name.line, format!("a key by name outside {table}: {path}"));
        }
    }
    if source.room() != "ui" {
        return;
    }
    for text in source
        .texts
        .iter()
        .filter(|text| names_a_key(&text.literal))
    {
        say(
            text.line,
            format!("a key by name outside {table}: {}", text.literal),
        );
    }
}

/// Words that on a screen can only be a key: modifiers, named keys, "press x".
fn names_a_key(literal: &str) -> bool {
    let words = literal.split(|c: char| !(c.is_alphanumeric() || "+-^⏎⇥".contains(c)));
    words.into_iter().any(|word| {
        let word = word.to_lowercase();
        let chord = ["ctrl-", "ctrl+", "alt-", "alt+", "c-"].iter().any(|m| {
            word.strip_prefix(m)
                .is_some_and(|key| key.chars().count() == 1)
        });
        chord || matches!(word.as_str(), "esc" | "⏎" | "⇥" | "pgup" | "pgdn" | "press")
    })
}

fn shape(source: &Source, say: &mut impl FnMut(usize, String)) {
    if !source.has_essay {
        say(1, "opens without a //! essay".to_owned());
    }
    if source.lines > LONGEST {
        say(
            1,
            format!("{} lines (of {LONGEST}): two rooms in one", source.lines),
        );
    }
}

fn is(name: &Name, word: &str) -> bool {
    name.path.len() == 1 && name.path[0] == word
}
