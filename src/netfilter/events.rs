//! Who changed the nf_tables ruleset, and what the change touched.
