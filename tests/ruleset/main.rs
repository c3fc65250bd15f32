//! The model of a ruleset from outside: real dumps of many origins, of both families and back ends, and
//! everything that can be done to them.
//!
//! Two sources of input: the project's own fixtures, made by the real tools (`tests/fixtures/rulesets`),
//! and, where it lies beside the checkout, a larger collection of dumps found in the wild
//! (`../shared/data`). A missing collection is said on standard output; the fixtures are always there.

// Helpers of tests are tests: what cannot be had must fail loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod corpus;
mod hostile;
mod meaning;
mod roundtrip;
mod same;
