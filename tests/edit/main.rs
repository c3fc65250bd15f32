//! Staged changes from outside: random rulesets and random operations, against a small model of the
//! tools and against the tools and the kernel themselves, both back ends and both families, in private
//! network namespaces. Run as root, or in a user namespace; see `support`.
//!
//! Chance is fixed: each case is made from a number, which a failure names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test that cannot go on says so by panicking
#![allow(clippy::format_push_string)] // dumps are built once, plainly

mod chance;
#[allow(dead_code)] // shared with the tests of the model
#[path = "../ruleset/corpus.rs"]
mod corpus;
mod form;
mod kernel;
mod model;
mod pure;
#[allow(dead_code)] // shared with the kernel tests, which need more of it
#[path = "../kernel/support.rs"]
mod support;
mod templates;
mod wild;
