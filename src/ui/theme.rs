//! Some dozen roles, not colours. Text and ground are the terminal's own; ANSI's sixteen colours by
//! default, so that the user's palette holds. State is shown by glyph and weight too: the mono theme
//! has no colour at all, and nothing is lost.

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

/// How each role looks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Theme {
    /// Plain text.
    pub text: Role,
    /// What is there but does not matter now: dots, units, empty columns.
    pub quiet: Role,
    /// Borders and titles of panes without the focus.
    pub frame: Role,
    /// Where the user is: the focused pane, the key names.
    pub accent: Role,
    /// The row under the cursor.
    pub cursor: Role,
    /// The row under the cursor, when it drops traffic now.
    pub cursor_alarm: Role,
    /// The row under the cursor of a pane without the focus.
    pub cursor_away: Role,
    /// A counter that rises now.
    pub hot: Role,
    /// A counter that rose a moment ago.
    pub warm: Role,
    /// A counter that rose some seconds ago.
    pub fading: Role,
    /// Traffic that is being dropped now.
    pub alarm: Role,
    /// It was dropped a moment ago.
    pub alarm_fading: Role,
    /// Something to look at: amber thresholds, notices.
    pub caution: Role,
    /// Headings of groups.
    pub heading: Role,
    /// What is staged and not yet in the kernel.
    pub staged: Role,
    /// What is staged to go.
    pub leaving: Role,
    /// The mark of a change that waits for its answer.
    pub pending: Role,
}

/// Foreground, background and weight; what is not given is the terminal's own.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Role {
    #[serde(deserialize_with = "colour")]
    fg: Option<Color>,
    #[serde(deserialize_with = "colour")]
    bg: Option<Color>,
    bold: bool,
    dim: bool,
    reverse: bool,
    underline: bool,
    strike: bool,
}

/// ratatui's names: `light-red`, `dark-gray`, `#ff8800`, or a number of the 256.
fn colour<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Color>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = |_| serde::de::Error::custom(format!("there is no colour {name:?}"));
    name.parse().map(Some).map_err(unknown)
}

impl Role {
    /// As ratatui's style. What the role does not name stays as it is.
    pub fn style(self) -> Style {
        let mut style = Style {
            fg: self.fg,
            bg: self.bg,
            ..Style::default()
        };
        for (on, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.dim, Modifier::DIM),
            (self.reverse, Modifier::REVERSED),
            (self.underline, Modifier::UNDERLINED),
            (self.strike, Modifier::CROSSED_OUT),
        ] {
            if on {
                style = style.add_modifier(modifier);
            }
        }
        style
    }
}

/// A theme that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// No shipped theme has this name.
    #[error("there is no theme {0:?}; there are: {1}")]
    Unknown(String, String),
    /// Not the shape of a theme.
    #[error("cannot read the theme {0:?}: {1}")]
    Toml(String, toml::de::Error),
}

/// The themes that the program ships.
pub const SHIPPED: [(&str, &str); 2] = [
    ("ansi", include_str!("../../assets/themes/ansi.toml")),
    ("mono", include_str!("../../assets/themes/mono.toml")),
];

impl Theme {
    /// A shipped theme by its name.
    pub fn named(name: &str) -> Result<Self, ThemeError> {
        let Some((_, text)) = SHIPPED.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = SHIPPED.iter().map(|(known, _)| *known).collect();
            return Err(ThemeError::Unknown(name.to_owned(), names.join(", ")));
        };
        toml::from_str(text).map_err(|error| ThemeError::Toml(name.to_owned(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_theme_is_whole() {
        for (name, _) in SHIPPED {
            Theme::named(name).expect(name);
        }
        let error = Theme::named("neon").expect_err("no such theme").to_string();
        assert!(error.contains("ansi, mono"), "{error}");
    }

    #[test]
    fn mono_has_no_colour_and_tells_alarm_from_hot() {
        let mono = Theme::named("mono").expect("mono");
        for role in [mono.hot, mono.alarm, mono.cursor, mono.caution, mono.quiet] {
            assert!(role.fg.is_none() && role.bg.is_none());
        }
        assert_ne!(mono.alarm.style(), mono.hot.style());
    }
}
