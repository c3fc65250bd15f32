//! The two clocks: one that deadlines are kept by, one that people read.
//!
//! CLOCK_BOOTTIME goes on while the machine sleeps and no one can set it back, so a window of 60 s ends
//! after 60 s whatever NTP, an administrator or a lid do. It means nothing after a reboot; the boot's own id
//! tells.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the boot, sleep included.
pub(super) fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Which boot this is (random(4)); empty where /proc does not say.
pub(super) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

/// Now, for people: RFC 3339 in UTC, to the second.
pub(super) fn now() -> String {
    jiff::Timestamp::now()
        .round(jiff::Unit::Second)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}
