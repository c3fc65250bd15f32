//! What is missing, and why: a line of what happened and a line of what to do.

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something cannot be shown.
    Warning,
    /// What is shown may mislead.
    Alarm,
}

/// One thing that the user should know; replaced by the next one with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about: a notice with the same key takes its place.
    pub key: String,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub text: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl Notice {
    /// A notice of that level.
    pub fn new(
        level: Level,
        key: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            level,
            text: text.into(),
            remedy: remedy.into(),
        }
    }
}

/// All notices in force, the gravest first.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    list: Vec<Notice>,
}

impl Notices {
    /// Adds or replaces. True when it says something new.
    pub fn put(&mut self, notice: Notice) -> bool {
        if self.list.contains(&notice) {
            return false;
        }
        self.list.retain(|old| old.key != notice.key);
        let at = self.list.partition_point(|old| old.level >= notice.level);
        self.list.insert(at, notice);
        true
    }

    /// Takes away what has this key, or starts with it. True when something was there.
    pub fn withdraw(&mut self, key: &str) -> bool {
        let before = self.list.len();
        self.list.retain(|notice| !notice.key.starts_with(key));
        before != self.list.len()
    }

    /// The gravest first.
    pub fn list(&self) -> &[Notice] {
        &self.list
    }

    /// Those that are more than good to know.
    pub fn grave(&self) -> usize {
        self.list.iter().filter(|n| n.level > Level::Info).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_stands_first_and_a_key_stands_once() {
        let mut notices = Notices::default();
        assert!(notices.put(Notice::new(Level::Info, "a", "one", "")));
        assert!(notices.put(Notice::new(Level::Alarm, "b", "two", "")));
        assert!(notices.put(Notice::new(Level::Warning, "a", "three", "")));
        assert!(!notices.put(Notice::new(Level::Warning, "a", "three", "")));
        let words: Vec<&str> = notices.list().iter().map(|n| n.text.as_str()).collect();
        assert_eq!(words, ["two", "three"]);
        assert!(notices.withdraw("b") && !notices.withdraw("b"));
        assert_eq!(notices.grave(), 1);
    }
}
