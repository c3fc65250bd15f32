//! The house is built as the design says.
//!
//! Reads every file under `src/` and fails on an arrow that the design does not allow, a pure room
//! that opens a door, raw code outside the rooms for it, a key called by its name outside the table
//! of actions, a file that grew into two. The tables are in `architecture/rules.rs`, the reading in
//! `architecture/source.rs`; here the checker is turned on the house, and on samples of every crime:
//! a checker that finds nothing proves nothing.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used)]

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;

use std::path::{Path, PathBuf};

use rules::{ARROWS, PURE, defects, may_know};
use source::Source;

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn house() -> Vec<Source> {
    let root = manifest_dir().join("src");
    rust_files(&root)
        .iter()
        .map(|path| {
            let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
            Source::read(file, &std::fs::read_to_string(path).unwrap()).unwrap()
        })
        .collect()
}

#[test]
fn the_house_follows_the_design() {
    let house = house();
    assert!(house.len() > 10, "src/ was not read: {house:?}");
    let found: Vec<String> = defects(&house)
        .iter()
        .map(|defect| format!("src/{}:{}: {}", defect.file, defect.line, defect.what))
        .collect();
    assert!(
        found.is_empty(),
        "{} defects:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn arrows_point_down_only() {
    for (at, (room, known)) in ARROWS.iter().enumerate() {
        for other in known.split_whitespace() {
            let below = ARROWS.iter().position(|(name, _)| name == &other);
            assert!(
                below.is_some_and(|below| below > at),
                "{room} -> {other} does not point down"
            );
        }
    }
    for room in PURE {
        let known = may_know(room).unwrap();
        assert!(
            known.iter().all(|other| PURE.contains(other)),
            "{room} is pure and may know {known:?}"
        );
    }
}

#[test]
fn whoever_knows_a_room_knows_what_it_is_made_of() {
    assert!(may_know("safety").unwrap().contains(&"ruleset"));
    assert!(may_know("runtime").unwrap().contains(&"verdict"));
    assert!(!may_know("ui").unwrap().contains(&"netfilter"));
    assert_eq!(may_know("main").unwrap(), ["main", "cli"]);
    assert_eq!(may_know("attic"), None);
}

/// The lints that make `unwrap` outside tests and stray `unsafe` errors stand in the manifest; here
/// nobody takes them out unseen.
#[test]
fn the_lints_stand_in_the_manifest() {
    let text = std::fs::read_to_string(manifest_dir().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let level = |group: &str, lint: &str| {
        let value = &manifest["lints"][group][lint];
        let level = value.get("level").unwrap_or(value);
        level.as_str().unwrap().to_owned()
    };
    for (group, lint) in [
        ("rust", "unsafe_code"),
        ("rust", "missing_docs"),
        ("clippy", "pedantic"),
        ("clippy", "unwrap_used"),
        ("clippy", "expect_used"),
        ("clippy", "print_stdout"),
    ] {
        let level = level(group, lint);
        assert!(
            ["warn", "deny", "forbid"].contains(&level.as_str()),
            "{group}::{lint} is {level}"
        );
    }
}

/// What the checker says of one file alone.
fn verdict(file: &str, code: &str) -> Vec<String> {
    let text = format!("//! Sample.\n{code}");
    let source = Source::read(file, &text).unwrap();
    let found = defects(&[source]).into_iter();
    found.map(|d| format!("{}: {}", d.line, d.what)).collect()
}

#[test]
fn every_crime_is_found() {
    // Where, what, and a part of what the checker must say. The essay is line 1, so code is line 2.
    #[rustfmt::skip]
    let crimes = [
        ("ui/theme.rs", "use crate::netfilter::xtables::Door;", "2: forbidden arrow ui -> netfilter"),
        ("ui/theme.rs", "use crate::{app::State, host};", "ui -> host"),
        ("ui/theme.rs", "use crate::{\n    app::{self, State},\n    runtime::{Loop, signals::*},\n};", "4: forbidden arrow ui -> runtime"),
        ("ui/theme.rs", "use ::ruletop::host;", "ui -> host"),
        ("ui/theme.rs", "fn f() -> crate::runtime::Loop { todo!() }", "ui -> runtime"),
        ("ui/theme.rs", "fn f() { format!(\"{}\", crate::host::name()); }", "ui -> host"),
        ("ui/theme.rs", "macro_rules! m { () => { $crate::safety::arm() } }", "ui -> safety"),
        ("ui/mod.rs", "use super::netfilter::klog;", "ui -> netfilter"),
        ("ui/panes/feed.rs", "use super::super::super::netfilter;", "ui -> netfilter"),
        ("ui/panes/feed.rs", "mod inner { use super::super::super::super::host; }", "ui -> host"),
        ("ui/theme.rs", "pub use crate::cli as shell;", "ui -> cli"),
        ("ui/theme.rs", "#[derive(Debug)]\nstruct S { door: Option<crate::netfilter::Door> }", "3: forbidden arrow"),
        ("ruleset/parse.rs", "use crate::flow::Packet;", "ruleset -> flow"),
        ("flow.rs", "use crate::verdict::Verdict;", "flow -> verdict"),
        ("netfilter/klog.rs", "use crate::app::Message;", "netfilter -> app"),
        ("host/routes.rs", "use crate::netfilter::conntrack;", "host -> netfilter"),
        ("sandbox/mod.rs", "use crate::runtime::Loop;", "sandbox -> runtime"),
        ("main.rs", "fn main() { ruletop::runtime::run(); }", "main -> runtime"),
        ("main.rs", "use ruletop::{cli, ui};", "main -> ui"),
        ("ui/theme.rs", "use crate::Board;", "ui -> Board"),
        ("ui/theme.rs", "use crate::*;", "hides what it uses: use crate::*"),
        ("ui/theme.rs", "use crate as house;", "hides what it uses"),
        ("ui/theme.rs", "use crate::{self as house, app};", "hides what it uses"),
        ("ui/mod.rs", "use super::*;", "hides what it uses"),
        ("app/state.rs", "use std as s;", "hides what it uses"),
        ("ui/theme.rs", "extern crate self as house;", "no extern crate"),
        ("ui/theme.rs", "#[path = \"../host/mod.rs\"] mod host;", "no #[path]"),
        ("ui/theme.rs", "include!(\"../host/mod.rs\");", "no include!"),
        ("lib.rs", "pub use app::State;", "lib.rs declares rooms"),
        ("attic/mod.rs", "", "`attic` is no room"),
        ("ruleset/parse.rs", "use std::{fmt, fs::File};", "ruleset is pure and names std::fs"),
        ("app/state.rs", "fn f() { std::process::exit(1) }", "names std::process"),
        ("verdict/mod.rs", "use std::net::{IpAddr, UdpSocket};", "names std::net::UdpSocket"),
        ("verdict/mod.rs", "use std::net::*;", "may import std::net::*"),
        ("app/state.rs", "use std::env;", "names std::env"),
        ("app/state.rs", "use std::time::Instant;\nfn f() { let t = Instant::now(); }", "3: app is pure and reads a clock"),
        ("app/state.rs", "fn f() { jiff::Timestamp::now(); }", "reads a clock"),
        ("app/state.rs", "fn f(t: Instant) -> Duration { t.elapsed() }", "reads a clock: .elapsed()"),
        ("app/state.rs", "fn f() { let read = std::time::SystemTime::now; }", "reads a clock"),
        ("app/state.rs", "use tokio::sync::mpsc;", "app may not name the crate tokio"),
        ("flow.rs", "use nix::libc;", "flow may not name the crate nix"),
        ("app/state.rs", "use ratatui::widgets::TableState;", "app may not name the crate ratatui"),
        ("ui/theme.rs", "async fn f() { tokio::time::sleep(D).await }", "ui may not name the crate tokio"),
        ("host/mod.rs", "fn f() { unsafe { g() } }", "unsafe stands in"),
        ("app/mod.rs", "#![allow(unsafe_code)]", "unsafe stands in"),
        ("app/mod.rs", "#[allow(clippy::unwrap_used)] fn f() {}", "the lint unwrap_used is silenced"),
        ("ui/theme.rs", "fn f(k: KeyCode) -> bool { k == KeyCode::Char('q') }", "a key by name"),
        ("runtime/input.rs", "use crossterm::event::KeyModifiers::CONTROL;", "a key by name"),
        ("ui/footer.rs", "const HINT: &str = \"Esc to leave\";", "a key by name"),
        ("ui/footer.rs", "const HINT: &str = \"Ctrl-c quits\";", "a key by name"),
        ("ui/footer.rs", "fn f() { label(\"press q\") }", "a key by name"),
        ("ui/theme.rs", &"const A: u8 = 0;\n".repeat(450), "451 lines (of 450)"),
        ("ui/theme.rs", "#[cfg(not(test))] use crate::host;", "ui -> host"),
        ("ui/theme.rs", "#[cfg(any(test, feature = \"x\"))] use crate::host;", "ui -> host"),
        ("ui/theme.rs", "#[cfg(test)] use crate::sandbox;\nuse crate::host;", "3: forbidden arrow ui -> host"),
        ("ui/theme.rs", "#[cfg(test)] fn a<A, B>() -> (A, B) { b() }\nfn c() { crate::host::d() }", "3: forbidden arrow"),
        ("ui/theme.rs", "struct S { #[cfg(test)] a: u8, b: crate::host::B }", "ui -> host"),
    ];
    for (file, code, wanted) in crimes {
        let found = verdict(file, code);
        assert!(
            found.iter().any(|said| said.contains(wanted)),
            "{file}: {code}\nwanted: {wanted}\nfound: {found:#?}"
        );
    }
    let bare = Source::read("ui/theme.rs", "/// Not an essay.\nfn f() {}").unwrap();
    assert_eq!(defects(&[bare])[0].what, "opens without a //! essay");
}

#[test]
fn the_innocent_go_free() {
    #[rustfmt::skip]
    let innocent = [
        ("ui/theme.rs", "use crate::{app::{State, action}, ruleset::Family};"),
        ("ui/theme.rs", "// use crate::netfilter::xtables;\n/* crate::host */\n/// [`crate::runtime`]\nfn f() {}"),
        ("ui/theme.rs", "const S: &str = \"crate::netfilter::x\"; const R: &str = r#\"use crate::host;\"#;"),
        ("ui/theme.rs", "#[cfg(test)]\nmod tests {\n    use crate::sandbox::Net;\n    use std::fs;\n}"),
        ("ui/theme.rs", "#[cfg(all(test, target_os = \"linux\"))] use crate::host::{a, b};"),
        ("ui/theme.rs", "pub(crate) fn f() {} pub(super) fn g() {} pub(in crate::ui) fn h() {}"),
        ("ui/panes/feed.rs", "use super::super::theme::Role; use self::inner::X; mod inner {}"),
        ("ui/mod.rs", "use super::app::State;"),
        ("cli/audit.rs", "use crate::{runtime, netfilter, ruleset, safety};"),
        ("safety/guard.rs", "use crate::ruleset::Ruleset; fn f() { std::process::exit(4) }"),
        ("main.rs", "use ruletop::cli; fn main() -> std::process::ExitCode { cli::run() }"),
        ("app/state.rs", "use std::time::{Duration, Instant}; use std::net::{IpAddr, SocketAddr}; use std::io;"),
        ("app/state.rs", "fn f(now: Instant, then: Instant) -> Duration { now - then }"),
        ("app/state.rs", "struct Age { elapsed: Duration } fn f(a: &Age) -> Duration { a.elapsed }"),
        ("netfilter/raw.rs", "#[allow(unsafe_code)] fn f() { unsafe { g() } }"),
        ("app/action.rs", "fn f() -> KeyCode { KeyCode::Char('q') }"),
        ("ui/footer.rs", "const HINT: &str = \"description, pressure, escaped, c\";"),
        ("runtime/input.rs", "const LOG: &str = \"Esc\";"),
        ("ui/theme.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}", "const A: u8 = 0;\n".repeat(500))),
        ("netfilter/x.rs", "fn f<'a>(s: &'a str) -> impl Iterator<Item = u8> + use<'a> { s.bytes() }"),
    ];
    for (file, code) in innocent {
        assert_eq!(verdict(file, code), Vec::<String>::new(), "{file}: {code}");
    }
    // A file that only tests see is test code, wherever it stands.
    let parent = Source::read("ui/mod.rs", "//! Ui.\n#[cfg(test)]\nmod tests;").unwrap();
    let tests = Source::read("ui/tests.rs", "use crate::sandbox::Net;").unwrap();
    assert_eq!(defects(&[parent, tests]), []);
}
