//! Packet and flow vocabulary shared by log lines, conntrack and verdicts. Pure.
