//! Keys by name, as the bytes that an xterm sends for them.
//!
//! Names are those of the key table: one character for itself, `Enter`, `Esc`, `PageDown`, `F5`, and
//! `Ctrl-`, `Alt-` or `Shift-` before one of them.

/// Keys that are not characters.
const NAMED: &[(&str, &str)] = &[
    ("enter", "\r"),
    ("esc", "\x1b"),
    ("tab", "\t"),
    ("backtab", "\x1b[Z"),
    ("shift-tab", "\x1b[Z"),
    ("backspace", "\x7f"),
    ("space", " "),
    ("up", "\x1b[A"),
    ("down", "\x1b[B"),
    ("right", "\x1b[C"),
    ("left", "\x1b[D"),
    ("home", "\x1b[H"),
    ("end", "\x1b[F"),
    ("insert", "\x1b[2~"),
    ("delete", "\x1b[3~"),
    ("pageup", "\x1b[5~"),
    ("pagedown", "\x1b[6~"),
    ("pgup", "\x1b[5~"),
    ("pgdn", "\x1b[6~"),
    ("f1", "\x1bOP"),
    ("f2", "\x1bOQ"),
    ("f3", "\x1bOR"),
    ("f4", "\x1bOS"),
    ("f5", "\x1b[15~"),
    ("f6", "\x1b[17~"),
    ("f7", "\x1b[18~"),
    ("f8", "\x1b[19~"),
    ("f9", "\x1b[20~"),
    ("f10", "\x1b[21~"),
    ("f11", "\x1b[23~"),
    ("f12", "\x1b[24~"),
];

/// The bytes of a key; `None` for a name that no key has.
pub fn bytes(name: &str) -> Option<Vec<u8>> {
    let mut characters = name.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        return Some(only.to_string().into_bytes());
    }
    let lower = name.to_lowercase();
    if let Some((_, sequence)) = NAMED.iter().find(|(known, _)| *known == lower) {
        return Some(sequence.as_bytes().to_vec());
    }
    let (modifier, key) = name.split_once(['-', '+'])?;
    match modifier.to_lowercase().as_str() {
        "alt" => {
            let mut sequence = vec![0x1b];
            sequence.extend(bytes(key)?);
            Some(sequence)
        }
        "ctrl" => match key.as_bytes() {
            // A terminal sends the letter's position in the alphabet; ^@ ^[ ^\ ^] ^^ ^_ around it.
            [b' '] => Some(vec![0]),
            [character @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'['..=b'_')] => {
                Some(vec![character.to_ascii_uppercase() & 0x1f])
            }
            _ => modified(key, 5),
        },
        "shift" => match key.as_bytes() {
            [letter] => Some(vec![letter.to_ascii_uppercase()]),
            _ => modified(key, 2),
        },
        _ => None,
    }
}

/// A named key with a modifier, xterm's way: `CSI 1;5A` for Ctrl-Up, `CSI 5;5~` for Ctrl-PageUp.
fn modified(key: &str, modifier: u8) -> Option<Vec<u8>> {
    let plain = String::from_utf8(bytes(key)?).ok()?;
    let body = plain.strip_prefix("\x1b[")?;
    let sequence = match body.strip_suffix('~') {
        Some(number) => format!("\x1b[{number};{modifier}~"),
        None => format!("\x1b[1;{modifier}{body}"),
    };
    Some(sequence.into_bytes())
}
