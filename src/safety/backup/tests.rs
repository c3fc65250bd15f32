//! The store, in temporary folders; what is saved of a real firewall is tests/guard's.
