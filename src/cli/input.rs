//! A dump from a file or from standard input.

use std::io::Read;
use std::path::Path;

use crate::cli::Failure;

/// A dump larger than this is not one: 100,000 rules take 10 MB.
const LARGEST: u64 = 1 << 30;

/// All of it.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = name(path);
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) if bytes.len() as u64 > LARGEST => Err(Failure::input(
            format!("{name} is larger than 1 GiB"),
            "is it a dump of iptables-save?",
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::input(
            format!("cannot read {name}: {error}"),
            "give the path of a file that iptables-save wrote, or - for standard input",
        )),
    }
}

/// What to call it.
pub fn name(path: &Path) -> String {
    if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
