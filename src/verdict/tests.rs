//! Behaviour of the whole engine on small rulesets.
