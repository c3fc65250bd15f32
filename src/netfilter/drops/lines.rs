//! Bytes into lines, bounded: a line longer than [`LONGEST`] is nobody's log line and is passed over.

/// More than any record of the kernel (8 KiB), syslog line or journal entry of one.
pub(super) const LONGEST: usize = 64 * 1024;

/// Keeps the beginning of a line until its end arrives.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    /// Inside a line that is too long.
    skipping: bool,
}

impl Lines {
    /// Hands every line that `bytes` ends to `visit`, without its line end.
    pub(super) fn feed(&mut self, bytes: &[u8], mut visit: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if std::mem::take(&mut self.skipping) {
                self.begun.clear();
            } else if self.begun.is_empty() {
                visit(line);
            } else {
                self.begun.extend_from_slice(line);
                visit(&self.begun);
                self.begun.clear();
            }
        }
        if !self.skipping {
            self.begun.extend_from_slice(rest);
        }
        if self.begun.len() > LONGEST {
            self.begun.clear();
            self.skipping = true;
        }
    }

    /// Forgets what was begun.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for part in parts {
            lines.feed(part, |line| got.push(line.to_vec()));
        }
        got
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        assert_eq!(lines(&[b"a\nb", b"c", b"\n\nd"]), [&b"a"[..], b"bc", b""]);
        assert_eq!(lines(&[b"", b"\n"]), [b""]);
    }

    #[test]
    fn a_line_without_end_takes_no_room() {
        let chunk = vec![b'x'; LONGEST];
        let mut fed = Lines::default();
        let mut got = Vec::new();
        for _ in 0..10 {
            fed.feed(&chunk, |line| got.push(line.to_vec()));
        }
        assert!(fed.begun.len() <= LONGEST);
        fed.feed(b"tail\nnext\n", |line| got.push(line.to_vec()));
        assert_eq!(got, [b"next"]);
    }
}
