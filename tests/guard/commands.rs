//! The commands as a script sees them, and what bad luck gets.
