pub mod lexer;
pub use lexer::{Word, write_quoted};
pub(super) mod general;
pub mod value;
pub use value::*;
