//! The services that this machine has names for: /etc/services (services(5)).

use std::path::Path;

/// Larger than any that a distribution ships.
const LARGEST: u64 = 4 << 20;

/// One name of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name, or an alias.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// `tcp`, `udp` …
    pub protocol: String,
}

/// The services of this machine, in the order of the file; none where there is no such file.
pub fn services() -> Vec<Service> {
    read(Path::new("/etc/services"))
}

fn read(path: &Path) -> Vec<Service> {
    let small = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
    let text = small.then(|| std::fs::read(path).ok()).flatten();
    text.map_or_else(Vec::new, |text| parse(&String::from_utf8_lossy(&text)))
}

/// `name  port/protocol  alias…  # comment`. Lines of another shape are passed over.
fn parse(text: &str) -> Vec<Service> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (Some(name), Some(at)) = (words.next(), words.next()) else {
            continue;
        };
        let Some((port, protocol)) = at.split_once('/') else {
            continue;
        };
        let Ok(port) = port.parse() else { continue };
        found.extend(std::iter::once(name).chain(words).map(|name| Service {
            name: name.to_owned(),
            port,
            protocol: protocol.to_owned(),
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_read() {
        let text = "# comment\nssh\t22/tcp\t# SSH\ndomain 53/udp dns nameserver\n\nbroken\nodd 99999/tcp\nodd 1\n";
        let shown: Vec<String> = parse(text)
            .iter()
            .map(|s| format!("{} {}/{}", s.name, s.port, s.protocol))
            .collect();
        assert_eq!(
            shown,
            [
                "ssh 22/tcp",
                "domain 53/udp",
                "dns 53/udp",
                "nameserver 53/udp"
            ]
        );
        assert!(read(Path::new("/nonexistent")).is_empty());
    }
}
