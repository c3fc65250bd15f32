//! Keys by name, as the bytes that an xterm sends for them.
//!
//! Names are written as in `assets/keymap.toml`: one character for itself, `<Enter>`, `<PageDown>`,
//! `<F5>`; `<C-x>` and `<A-x>` with a modifier.

/// Keys that are not characters.
const NAMED: &[(&str, &str)] = &[
    ("Enter", "\r"),
    ("Esc", "\x1b"),
    ("Tab", "\t"),
    ("S-Tab", "\x1b[Z"),
    ("Space", " "),
    ("Backspace", "\x7f"),
    ("Up", "\x1b[A"),
    ("Down", "\x1b[B"),
    ("Right", "\x1b[C"),
    ("Left", "\x1b[D"),
    ("Home", "\x1b[H"),
    ("End", "\x1b[F"),
    ("Insert", "\x1b[2~"),
    ("Delete", "\x1b[3~"),
    ("PageUp", "\x1b[5~"),
    ("PageDown", "\x1b[6~"),
    ("F1", "\x1bOP"),
    ("F2", "\x1bOQ"),
    ("F3", "\x1bOR"),
    ("F4", "\x1bOS"),
    ("F5", "\x1b[15~"),
    ("F6", "\x1b[17~"),
    ("F7", "\x1b[18~"),
    ("F8", "\x1b[19~"),
    ("F9", "\x1b[20~"),
    ("F10", "\x1b[21~"),
    ("F11", "\x1b[23~"),
    ("F12", "\x1b[24~"),
];

/// The bytes of a key; `None` for a name that no key has.
pub fn bytes(name: &str) -> Option<Vec<u8>> {
    if is_one_character(name) {
        return Some(name.as_bytes().to_vec());
    }
    let inner = name.strip_prefix('<')?.strip_suffix('>')?;
    if let Some((_, sequence)) = NAMED.iter().find(|(known, _)| *known == inner) {
        return Some(sequence.as_bytes().to_vec());
    }
    let (modifier, key) = inner.split_once('-')?;
    if !is_one_character(key) {
        return None;
    }
    match modifier {
        "A" => Some(format!("\x1b{key}").into_bytes()),
        // A terminal sends the letter's place in the alphabet; ^@ and ^[ to ^_ lie around it.
        "C" => match key.as_bytes() {
            [byte @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => {
                Some(vec![byte.to_ascii_uppercase() & 0x1f])
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_one_character(name: &str) -> bool {
    name.chars().count() == 1
}
