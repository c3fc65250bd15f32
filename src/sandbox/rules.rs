//! The one thing about a scenario's rules that depends on the machine: where logging goes.
//!
//! A LOG rule in a network namespace other than the first writes nothing unless the *machine's*
//! `nf_log_all_netns` is 1, which is not ours to set. NFLOG is per namespace and always works. So the
//! text says `-j @LOG@ "prefix"`, and what that becomes is decided when it is loaded. Rule numbers do not change.

use std::fs;

use super::scenario::{LogTarget, NFLOG_GROUP};

/// The placeholder in a scenario's rules; a quoted prefix follows.
pub const PLACEHOLDER: &str = "@LOG@";

/// LOG where its lines could be seen from a new namespace, else NFLOG. To be asked before it is made,
/// because the sysctl shows in the machine's first namespace only.
pub fn visible_log_target() -> LogTarget {
    let all = fs::read_to_string("/proc/sys/net/netfilter/nf_log_all_netns");
    if all.is_ok_and(|text| text.trim() == "1") && fs::File::open("/dev/kmsg").is_ok() {
        LogTarget::Log
    } else {
        LogTarget::Nflog
    }
}

/// The text for iptables-restore.
pub fn with_log_target(text: &str, target: LogTarget) -> String {
    let options = match target {
        LogTarget::Log => "LOG --log-prefix".to_owned(),
        LogTarget::Nflog => format!("NFLOG --nflog-group {NFLOG_GROUP} --nflog-prefix"),
    };
    text.replace(PLACEHOLDER, &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_becomes_the_target_with_its_prefix() {
        let text = "-A INPUT -m limit --limit 3/min -j @LOG@ \"[UFW BLOCK] \"\n";
        assert_eq!(
            with_log_target(text, LogTarget::Log),
            "-A INPUT -m limit --limit 3/min -j LOG --log-prefix \"[UFW BLOCK] \"\n"
        );
        assert_eq!(
            with_log_target(text, LogTarget::Nflog),
            "-A INPUT -m limit --limit 3/min -j NFLOG --nflog-group 1 --nflog-prefix \"[UFW BLOCK] \"\n"
        );
    }
}
