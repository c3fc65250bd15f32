//! One rule as a form and as a line, two views of the same text.
//!
//! The text is the rule. A [`Form`] is what [`Form::read`] finds in it for each [`Field`], and [`set`]
//! writes one field back: it changes the words that say what the field shows and leaves every other byte
//! as it was typed, matches that the form has no field for, their order and their quoting included. So
//! neither view can lose what the other cannot show, and a field that is written as it was read gives
//! the same bytes.
//!
//! - `site`: where the rule is to stand; what may be said of it depends on that.
//! - `fields`, `write`: the form out of the text and back.
//! - `ports`, `splice`: the parts of that: ports stand in one of two matches; text is changed in pieces.
//! - [`text`]: any bytes as text that one can type in, and back.
//! - [`catalog`]: which matches, targets and options there are, as data.
//! - [`check`]: what is wrong while one types. [`sentence`]: what the rule does, in words.
//! - [`complete`]: what could stand at the cursor.
//!
//! A field begins with `!` where its option is inverted. Nothing here asks the system: names of
//! interfaces, services and sets are handed in.

pub mod catalog;
pub mod check;
pub mod complete;
mod fields;
mod ports;
pub mod sentence;
mod site;
mod splice;
mod target;
#[cfg(test)]
mod tests;
pub mod text;
mod write;

pub use fields::{Field, Form};
pub use site::Site;
pub use write::set;
