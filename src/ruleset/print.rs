//! Prints a ruleset with other counters: the live export, where the structure is known and the counters
//! are newer than the text.
//!
//! A text that holds only what the save tool prints is printed line by line, each byte but the counters
//! as it was. A text with commands in it (restore input written by hand) is printed from the model, as
//! the save tool would print it once it is loaded: that is what the counters belong to.

use std::iter::Peekable;

use super::counters::{CounterSet, Counters};
use super::line::{Kind, Line, Lines, classify};
use super::model::{Chain, ChainIdx, RuleIdx, Ruleset, TableIdx};
use super::spec::general::jump;

impl Ruleset {
    /// The ruleset as `*-save -c` would print it with these counters. Counters for rules and chains that
    /// `counters` does not hold are zero.
    pub fn to_save(&self, counters: &CounterSet) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes().len() + 16 * self.rule_count());
        if self.plain {
            self.print_lines(counters, &mut out);
        } else {
            self.print_model(counters, &mut out);
        }
        out
    }

    fn print_lines(&self, counters: &CounterSet, out: &mut Vec<u8>) {
        let text = self.bytes_to_end();
        let mut table = None;
        let mut rules = self.rules().peekable();
        for line in Lines::from(text, self.from as usize) {
            let next = line.start + line.body.len();
            let lead = text.get(line.from..line.start).unwrap_or_default();
            out.extend_from_slice(lead);
            match classify(&line) {
                Kind::Table { name, .. } => {
                    table = std::str::from_utf8(name)
                        .ok()
                        .and_then(|n| self.find_table(n));
                    out.extend_from_slice(line.body);
                }
                Kind::Chain(chain) => {
                    let index = table.and_then(|table| self.chain_named(table, chain.name));
                    self.print_chain_line(&line, index, counters, out);
                }
                Kind::Command => self.print_rule_line(&line, &mut rules, counters, out),
                _ => out.extend_from_slice(line.body),
            }
            let ending = text.get(next..).unwrap_or_default();
            let length = memchr::memchr(b'\n', ending).map_or(ending.len(), |at| at + 1);
            out.extend_from_slice(ending.get(..length).unwrap_or_default());
        }
    }

    /// `:CHAIN POLICY [packets:bytes]` with other counters; anything odd about the line is kept.
    fn print_chain_line(
        &self,
        line: &Line<'_>,
        chain: Option<ChainIdx>,
        counters: &CounterSet,
        out: &mut Vec<u8>,
    ) {
        let at = memchr::memrchr(b'[', line.body);
        let old = at.and_then(|at| {
            let (_, length) = Counters::from_brackets(line.body.get(at..)?)?;
            Some((at, at + length))
        });
        match (chain, old) {
            (Some(chain), Some((from, to))) => {
                out.extend_from_slice(line.body.get(..from).unwrap_or_default());
                counters.policy(chain).write_brackets(out);
                out.extend_from_slice(line.body.get(to..).unwrap_or_default());
            }
            (Some(chain), None) if self.chain(chain).is_builtin() => {
                out.extend_from_slice(line.body);
                out.push(b' ');
                counters.policy(chain).write_brackets(out);
            }
            _ => out.extend_from_slice(line.body),
        }
    }

    fn print_rule_line(
        &self,
        line: &Line<'_>,
        rules: &mut Peekable<impl Iterator<Item = RuleIdx>>,
        counters: &CounterSet,
        out: &mut Vec<u8>,
    ) {
        let start = |rule: &RuleIdx| self.row(*rule).map_or(usize::MAX, |row| row.start as usize);
        while rules.next_if(|rule| start(rule) < line.start).is_some() {}
        // A command line may make no rule.
        let rule = rules.next_if(|rule| start(rule) == line.start);
        let row = rule.and_then(|rule| self.row(rule));
        match (rule, row) {
            (Some(rule), Some(row)) => {
                let old = Counters::from_brackets(line.body).map_or(0, |(_, length)| length);
                counters.rule(rule).write_brackets(out);
                out.push(b' ');
                let command_end = (row.spec as usize).saturating_sub(line.start);
                let command = line.body.get(old..command_end).unwrap_or_default();
                out.extend_from_slice(command.trim_ascii());
                let spec = self.normal_spec(rule);
                if !spec.is_empty() {
                    out.push(b' ');
                    out.extend_from_slice(&spec);
                }
            }
            _ => out.extend_from_slice(line.body),
        }
    }

    fn print_model(&self, counters: &CounterSet, out: &mut Vec<u8>) {
        for (index, table) in self.tables().iter().enumerate() {
            let index = TableIdx(u32::try_from(index).unwrap_or(u32::MAX));
            out.push(b'*');
            out.extend_from_slice(table.name.bytes());
            out.push(b'\n');
            for chain in table.chains() {
                self.print_chain(*chain, counters, out);
            }
            let chains = table.chains().iter().map(|chain| self.chain(*chain));
            for chain in chains.filter(|chain| chain.table() == index) {
                self.print_rules(chain, counters, out);
            }
            out.extend_from_slice(b"COMMIT\n");
        }
    }

    fn print_chain(&self, index: ChainIdx, counters: &CounterSet, out: &mut Vec<u8>) {
        let chain = self.chain(index);
        out.push(b':');
        out.extend_from_slice(chain.name_bytes());
        out.push(b' ');
        out.extend_from_slice(chain.policy().map_or("-", super::Policy::name).as_bytes());
        out.push(b' ');
        counters.policy(index).write_brackets(out);
        out.push(b'\n');
    }

    fn print_rules(&self, chain: &Chain, counters: &CounterSet, out: &mut Vec<u8>) {
        for rule in chain.rules() {
            counters.rule(*rule).write_brackets(out);
            out.extend_from_slice(b" -A ");
            out.extend_from_slice(chain.name_bytes());
            let spec = self.rule_text(*rule);
            if !spec.is_empty() {
                out.push(b' ');
                out.extend_from_slice(&spec);
            }
            out.push(b'\n');
        }
    }

    /// A specification, in which a jump to a chain that was renamed further down names it anew.
    pub(super) fn print_spec(&self, rule: RuleIdx, spec: &[u8], out: &mut Vec<u8>) {
        let jump = jump(spec).and_then(|(at, _)| {
            let name = spec.get(at.clone())?;
            let chain = self.chain(self.chain_meant(rule, name)?);
            (chain.name_bytes() != name).then_some((at, chain))
        });
        let Some((at, chain)) = jump else {
            return out.extend_from_slice(spec);
        };
        out.extend_from_slice(spec.get(..at.start).unwrap_or_default());
        out.extend_from_slice(chain.name_bytes());
        out.extend_from_slice(spec.get(at.end..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use crate::ruleset::{CounterSet, Counters, Document, Hints, Ruleset};

    fn ruleset(text: &str) -> Ruleset {
        let document = Document::parse(text.as_bytes(), Hints::default()).unwrap();
        document.into_rulesets().remove(0)
    }

    fn with_counters(ruleset: &Ruleset) -> String {
        let mut counters = CounterSet::zero(ruleset.rule_count(), ruleset.chains().len());
        for (n, counter) in (1..).zip(&mut counters.rules) {
            *counter = Counters {
                packets: n,
                bytes: 10 * n,
            };
        }
        for (n, counter) in (100..).zip(&mut counters.policies) {
            *counter = Counters {
                packets: n,
                bytes: n,
            };
        }
        String::from_utf8(ruleset.to_save(&counters)).unwrap()
    }

    #[test]
    fn its_own_counters_give_the_same_bytes() {
        let text = "# Generated by iptables-save v1.8.9 on Fri\n*filter\n:INPUT DROP [5:6]\n:u - [0:0]\n[1:2] -A INPUT -i lo -j u\n[3:4] -A u -m comment --comment \"a\nb\" -j DROP\n[7:8] -A u\nCOMMIT\n# Completed on Fri\n";
        let ruleset = ruleset(text);
        let printed = ruleset.to_save(&ruleset.saved_counters());
        assert_eq!(String::from_utf8(printed).unwrap(), text);
    }

    #[test]
    fn other_counters_replace_those_of_the_text() {
        let ruleset = ruleset(
            "*filter\n:INPUT DROP [5:6]\n-A INPUT -i lo\n-A INPUT -j DROP -c 8 9\nCOMMIT\n",
        );
        assert_eq!(
            with_counters(&ruleset),
            "*filter\n:INPUT DROP [100:100]\n[1:10] -A INPUT -i lo\n[2:20] -A INPUT -j DROP\nCOMMIT\n"
        );
    }

    #[test]
    fn lines_that_make_no_rule_stay_as_they_are() {
        let ruleset = ruleset(
            "*filter\n:INPUT DROP [5:6]\n-L\n-j ACCEPT -A INPUT\n-A INPUT -i lo\n?\nCOMMIT\n",
        );
        assert_eq!(
            with_counters(&ruleset),
            "*filter\n:INPUT DROP [100:100]\n-L\n-j ACCEPT -A INPUT\n[1:10] -A INPUT -i lo\n?\nCOMMIT\n"
        );
    }

    #[test]
    fn commands_are_printed_as_their_result() {
        let ruleset = ruleset(
            "*filter\n:INPUT DROP\n-N u\n-A INPUT -s 1.1.1.1,2.2.2.2 -j DROP\n-I INPUT -i lo -j u\n-D INPUT 2\nCOMMIT\n",
        );
        assert_eq!(
            with_counters(&ruleset),
            "*filter\n:INPUT DROP [100:100]\n:u - [101:101]\n[2:20] -A INPUT -i lo -j u\n[1:10] -A INPUT -s 2.2.2.2 -j DROP\nCOMMIT\n"
        );
    }
}
