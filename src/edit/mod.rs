//! Changing rules: the rule editor's form and the templates. Pure.

pub mod form;
