//! The table of keys: read from data, asked by the dispatcher, the footer, the help and the README.

use serde::Deserialize;

use super::action::{Action, Key, Place};

/// One row of the keymap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The keys, any of which runs the action.
    pub keys: Vec<Key>,
    /// What they run.
    pub action: Action,
    /// Where.
    pub place: Place,
    /// Words for the help.
    pub desc: String,
    /// Word for the footer.
    pub hint: Option<String>,
}

/// What is wrong with a keymap.
#[derive(Debug, thiserror::Error)]
pub enum KeymapError {
    /// Not the shape of a keymap.
    #[error("cannot read the keymap: {0}")]
    Toml(#[from] toml::de::Error),
    /// A key that has no such name.
    #[error(
        "the keymap names the key {0:?}, which is neither a character nor one of <Enter> <Tab> <C-x> …"
    )]
    Key(String),
    /// The same key twice in one place.
    #[error("the keymap gives the key {0} two meanings in one place")]
    Twice(Key),
}

/// The table of keys.
#[derive(Clone, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    on: Vec<String>,
    run: Action,
    #[serde(rename = "in")]
    place: Place,
    desc: String,
    hint: Option<String>,
}

impl Keymap {
    /// The keymap that the program ships.
    pub fn shipped() -> Result<Self, KeymapError> {
        Self::parse(include_str!("../../assets/keymap.toml"))
    }

    /// Reads a keymap; a key with two meanings in one place is refused.
    pub fn parse(text: &str) -> Result<Self, KeymapError> {
        let file: File = toml::from_str(text)?;
        let mut bindings: Vec<Binding> = Vec::with_capacity(file.key.len());
        for row in file.key {
            let keys = row
                .on
                .iter()
                .map(|key| key.parse())
                .collect::<Result<Vec<Key>, _>>()?;
            for key in &keys {
                if bindings
                    .iter()
                    .any(|b| b.place == row.place && b.keys.contains(key))
                {
                    return Err(KeymapError::Twice(*key));
                }
            }
            bindings.push(Binding {
                keys,
                action: row.run,
                place: row.place,
                desc: row.desc,
                hint: row.hint,
            });
        }
        Ok(Self { bindings })
    }

    /// The action of a key in a place; what is bound to the place itself goes before `any`.
    pub fn action(&self, place: Place, key: Key) -> Option<Action> {
        let find = |wanted: Place| {
            self.bindings
                .iter()
                .find(|b| b.place == wanted && b.keys.contains(&key))
                .map(|b| b.action)
        };
        match place {
            // A typed line takes every other key as text; where a change is decided on, no other key counts.
            Place::Input | Place::Review | Place::Pending | Place::Keep | Place::History => {
                find(place)
            }
            Place::Editor => find(place).or_else(|| find(Place::Input)),
            // The board is not to be seen: what would move or change it stays away.
            Place::Why => find(place).or_else(|| find(Place::Any).filter(|a| !a.is_of_board())),
            _ => find(place).or_else(|| find(Place::Any)),
        }
    }

    /// All rows, in the order of the file.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The rows that the footer shows for a place: its own first.
    pub fn hints(&self, place: Place) -> impl Iterator<Item = (&Binding, &str)> {
        let of = move |wanted: Place| {
            self.bindings
                .iter()
                .filter(move |b| b.place == wanted)
                .filter_map(|b| b.hint.as_deref().map(|hint| (b, hint)))
        };
        let rest = match place {
            Place::Editor => Some(Place::Input),
            Place::Input | Place::Review | Place::Pending | Place::Keep | Place::History => None,
            _ => Some(Place::Any),
        };
        let counts = move |binding: &Binding| {
            let mut keys = binding.keys.iter();
            place != Place::Why || keys.any(|key| self.action(place, *key) == Some(binding.action))
        };
        let rest = rest.into_iter().flat_map(of);
        of(place).chain(rest.filter(move |(binding, _)| counts(binding)))
    }

    /// The first key of an action, for texts that name one.
    pub fn key_of(&self, action: Action) -> Option<Key> {
        self.bindings
            .iter()
            .find(|b| b.action == action)
            .and_then(|b| b.keys.first().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().expect(text)
    }

    #[test]
    fn the_shipped_keymap_is_whole() {
        let map = Keymap::shipped().expect("shipped keymap");
        assert_eq!(map.action(Place::Rules, key("q")), Some(Action::Quit));
        assert_eq!(map.action(Place::Drops, key("<C-c>")), Some(Action::Quit));
        assert_eq!(map.action(Place::Drops, key("r")), Some(Action::Group));
        assert_eq!(map.action(Place::Rules, key("r")), None);
        assert!(
            map.bindings()
                .iter()
                .all(|b| !b.keys.is_empty() && !b.desc.is_empty())
        );
    }

    #[test]
    fn a_key_with_two_meanings_is_refused() {
        let text = "[[key]]\non=[\"a\"]\nrun=\"up\"\nin=\"any\"\ndesc=\"x\"\n\
                    [[key]]\non=[\"a\"]\nrun=\"down\"\nin=\"any\"\ndesc=\"x\"\n";
        assert!(matches!(Keymap::parse(text), Err(KeymapError::Twice(_))));
    }

    #[test]
    fn unknown_keys_and_actions_are_refused_by_name() {
        for text in ["<Hyper>", "", "ab", "<C-ab>"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
        let text = "[[key]]\non=[\"a\"]\nrun=\"fly\"\nin=\"any\"\ndesc=\"x\"\n";
        let error = Keymap::parse(text).expect_err("no such action").to_string();
        assert!(error.contains("fly"), "{error}");
    }

    #[test]
    fn keys_are_shown_as_people_write_them() {
        assert_eq!(key("<C-c>").to_string(), "^C");
        assert_eq!(key("<S-Tab>").to_string(), "S-Tab");
        assert_eq!(key("<Enter>").to_string(), "⏎");
        assert_eq!(key("z").to_string(), "z");
    }
}
