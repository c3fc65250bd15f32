//! The processes of one terminal, known by a variable in their environment: sessions, process groups
//! and namespaces are left behind as a program likes, the environment is not.

use nix::unistd::Pid;

/// The variable.
pub const TAG: &str = "RULETOP_TEST_TERMINAL";

/// Living processes whose environment carries this tag.
pub fn tagged(tag: &str) -> Vec<Pid> {
    let wanted = format!("{TAG}={tag}\0");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // The environment of a process that has ended, or is somebody else's, cannot be read.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let mine = environment
            .windows(wanted.len())
            .any(|window| window == wanted.as_bytes());
        if mine {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

/// A process as `id name`.
pub fn named(pid: Pid) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} {}", name.trim())
}
