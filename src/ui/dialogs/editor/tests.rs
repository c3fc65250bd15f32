//! What the editor looks like: nothing is cut that matters, nothing passes that a terminal obeys.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::action::Action;
use crate::app::editor::{Editor, Opening, Purpose};
use crate::app::firewall::FirewallId;
use crate::app::templates::Templates;
use crate::edit::form::Site;
use crate::edit::form::complete::Names;
use crate::edit::{Spot, Stage};
use crate::ruleset::{Backend, Family, Origin, Ruleset};
use crate::ui::theme::Theme;

fn editor(spec: &[u8]) -> Editor {
    let names = |names: &[&str]| names.iter().map(|n| n.as_bytes().to_vec()).collect();
    Editor::open(Opening {
        id: FirewallId::from(Origin::new(Family::V4, Backend::Nft)),
        purpose: Purpose::Insert(Spot::new("filter", "INPUT", None)),
        doing: "insert before rule 4".into(),
        place: "v4 filter INPUT".into(),
        site: Site {
            family: Family::V4,
            backend: Some(Backend::Nft),
            table: "filter".into(),
            chain: b"INPUT".to_vec(),
            hooks: vec!["INPUT".into()],
            chains: names(&["web"]),
            builtin: names(&["FORWARD", "INPUT", "OUTPUT"]),
        },
        spec: spec.to_vec(),
        names: Arc::new(Names::default()),
        can_ask: true,
        stage: Stage::new(Arc::new(
            Ruleset::parse(
                &b"*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"[..],
                Origin::new(Family::V4, Backend::Nft),
            )
            .unwrap(),
        )),
    })
}

fn drawn(editor: &Editor, width: u16, height: u16) -> String {
    let screen = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(screen);
    super::draw(editor, &Theme::named("mono").unwrap(), screen, &mut buffer);
    text_of(&buffer, screen)
}

fn text_of(buffer: &Buffer, screen: Rect) -> String {
    let row = |y: u16| -> String {
        let cells = (0..screen.width).filter_map(|x| buffer.cell((x, y)));
        cells.map(ratatui::buffer::Cell::symbol).collect()
    };
    (0..screen.height)
        .map(|y| row(y).trim_end().to_owned() + "\n")
        .collect()
}

const RULE: &[u8] = b"-i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -m limit --limit 5/min \
    -m recent --set --name x -m comment --comment \"a \x1b[2J\xff b\" -j LOG --log-prefix \"web: \" --log-uid";

#[test]
fn everything_is_in_sight_at_the_sizes_that_count() {
    let mut open = editor(RULE);
    for (width, height) in [(80, 24), (60, 20), (120, 36)] {
        let screen = drawn(&open, width, height);
        for words in [
            "insert before rule 4",
            "v4 filter INPUT",
            "443",
            "web: ",
            "eth0",
            "a ␛[2J\u{fffd} b",
            "3 parts that have no field",
            "Log new TCP connections to port 443",
        ] {
            assert!(
                screen.contains(words),
                "{words} at {width}x{height}:\n{screen}"
            );
        }
        assert!(!screen.contains('\x1b'));
    }
    open.act(Action::SwitchView);
    open.type_text(" --nonsense");
    let screen = drawn(&open, 60, 20);
    assert!(
        screen.contains("--nonsense") && screen.contains("column "),
        "{screen}"
    );
}

#[test]
fn the_list_of_candidates_hangs_at_the_cursor() {
    let mut open = editor(b"");
    open.type_text("RE");
    open.act(Action::Complete);
    let screen = drawn(&open, 80, 24);
    assert!(
        screen.contains("REJECT") && !screen.contains("REDIRECT"),
        "{screen}"
    );
    assert!(
        screen.contains("RETURN") && screen.contains("the sender is told"),
        "{screen}"
    );
}

#[test]
fn no_size_is_too_small_to_draw() {
    let mut open = editor(RULE);
    for width in 1..40 {
        for height in 1..14 {
            drawn(&open, width, height);
        }
    }
    open.act(Action::Complete);
    open.act(Action::SwitchView);
    for width in 1..40 {
        for height in 1..14 {
            drawn(&open, width, height);
        }
    }
}

#[test]
fn templates_show_their_rules_with_places_and_reasons() {
    let text = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -j DROP\n-A INPUT -j DROP\nCOMMIT\n";
    let origin = Origin::new(Family::V4, Backend::Nft);
    let stage = Stage::new(Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap()));
    let mut picker = Templates::open(origin.into(), "v4".into(), stage, Arc::default(), true);
    let drawn = |picker: &Templates, width: u16, height: u16| {
        let screen = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(screen);
        let theme = Theme::named("mono").unwrap();
        crate::ui::dialogs::templates::draw(picker, &theme, screen, &mut buffer);
        text_of(&buffer, screen)
    };
    let list = drawn(&picker, 80, 24);
    assert!(
        list.contains("Allow a service") && list.contains("Forward a port"),
        "{list}"
    );
    picker.act(Action::Accept);
    picker.type_text("443");
    for (width, height) in [(80, 24), (60, 20)] {
        let screen = drawn(&picker, width, height);
        println!("{screen}");
        for words in [
            "Allow a service ── v4",
            "443",
            "+ filter INPUT 4",
            "Accept new TCP",
            "before rule 3",
        ] {
            assert!(
                screen.contains(words),
                "{words} at {width}x{height}:\n{screen}"
            );
        }
    }
    for width in 1..30 {
        for height in 1..14 {
            drawn(&picker, width, height);
        }
    }
}
