//! Native nf_tables.
