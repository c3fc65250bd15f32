//! Probes: rules that log and decide nothing, put before a rule so that what it decides can be seen.
//!
//! A probe has the matches of the rule that it stands before, a limit, and a tag in its comment by which it is
//! known wherever it turns up: `ruletop-probe:ID:DEADLINE`, the deadline in seconds since 1970. Whatever carries
//! the tag and does more than log is not one.
//!
//! What this file does not do: put one into the kernel, or decide when it goes (`safety` does).

use std::sync::Arc;

use memchr::memmem;

use super::{Operation, Refused, Spot, Stage};
use crate::ruleset::spec::Layout;
use crate::ruleset::{Family, RuleIdx, Ruleset};

/// Begins the comment of every probe.
pub const TAG: &str = "ruletop-probe:";
/// Word for word as both save tools print it, like all of a probe: that it is in is told by its text.
/// What a probe writes at most: a flood must not fill the log of the machine.
const LIMIT: &str = "-m limit --limit 10/sec --limit-burst 20";
/// LOG takes 29 bytes of prefix (linux/netfilter/xt_LOG.h, with its NUL 30).
const PREFIX: usize = 29;
/// Matches that write to state which other rules read: a second reading of a packet would change what they
/// decide.
const SHARED: [&str; 3] = ["hashlimit", "nfacct", "rateest"];

/// What the comment of a probe says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tag {
    /// Its name.
    pub id: String,
    /// When it is to be gone, seconds since 1970.
    pub deadline: u64,
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{TAG}{}:{}", self.id, self.deadline)
    }
}

/// The way that its lines take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Means {
    /// LOG: the kernel's log.
    Kernel,
    /// NFLOG to that group.
    Group(u16),
}

/// Where a probe is wanted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Site {
    /// Name of the table.
    pub table: Vec<u8>,
    /// Name of the chain.
    pub chain: Vec<u8>,
    /// The rule that it goes before; `None`: the end of the chain, before its policy.
    pub before: Option<Before>,
}

/// A rule of the kernel, by its number in the chain (from 1) and its text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Before {
    /// Where it was when it was last looked at.
    pub number: u32,
    /// The number that the user sees, which counts no probes.
    pub shown: u32,
    /// Without `-A CHAIN`.
    pub spec: Vec<u8>,
}

/// Why there can be no probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The place is not there any more.
    #[error("{0} is not there any more; look again")]
    Gone(&'static str),
    /// Several rules of that text, none of them where it was.
    #[error("the rules have just changed; look again")]
    Moved,
    /// The matches cannot be told from the rest.
    #[error("not all of the rule is understood, so what it matches cannot be said twice")]
    NotUnderstood,
    /// Asking twice changes the answer.
    #[error("the rule counts with -m {0}: a second rule with it would change what it decides")]
    Shared(String),
    /// The stage does not take it.
    #[error("{0}")]
    Refused(String),
}

impl From<Refused> for ProbeError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.to_string().replace('\n', ": "))
    }
}

/// The tag of a rule that is a probe.
pub fn tag_of(spec: &[u8]) -> Option<Tag> {
    let at = memmem::find(spec, TAG.as_bytes())?;
    let before = spec.get(..at)?;
    let quoted = before.strip_suffix(b"\"").unwrap_or(before);
    if !quoted.ends_with(b"--comment ") || !logs(spec) {
        return None;
    }
    let rest = spec.get(at + TAG.len()..)?;
    let end = rest.iter().position(|b| matches!(b, b' ' | b'"'));
    let words = std::str::from_utf8(rest.get(..end.unwrap_or(rest.len()))?).ok()?;
    let (id, deadline) = words.split_once(':')?;
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let deadline = deadline.parse().ok().filter(|_| plain)?;
    Some(Tag {
        id: id.to_owned(),
        deadline,
    })
}

/// Its target logs. Read with all that quoting can do, but only for what carries the tag.
fn logs(spec: &[u8]) -> bool {
    // The target has the same name in both families.
    let (_, layout) = Layout::read(spec, Family::V4, &|_| false);
    layout
        .target()
        .is_some_and(|piece| piece.option == "jump" && matches!(piece.value(), b"LOG" | b"NFLOG"))
}

/// Every probe of a ruleset, in order. One search through the text where there is none.
pub fn probes(ruleset: &Ruleset) -> Vec<(RuleIdx, Tag)> {
    if memmem::find(ruleset.bytes(), TAG.as_bytes()).is_none() {
        return Vec::new();
    }
    let rules = ruleset.rules();
    rules
        .filter_map(|rule| Some((rule, tag_of(ruleset.spec(rule))?)))
        .collect()
}

/// Numbers of rules in their chains, probes not counted: they come and go by themselves.
pub(super) struct Net<'a> {
    ruleset: &'a Ruleset,
    probes: Vec<RuleIdx>,
}

impl<'a> Net<'a> {
    pub(super) fn of(ruleset: &'a Ruleset) -> Self {
        let probes = probes(ruleset).into_iter().map(|(rule, _)| rule);
        Self {
            ruleset,
            probes: probes.collect(),
        }
    }

    /// From 1.
    pub(super) fn number(&self, rule: RuleIdx) -> u32 {
        let set = self.ruleset;
        let (chain, number) = (set.chain_of(rule), set.number(rule));
        let is_before =
            |probe: &&RuleIdx| set.chain_of(**probe) == chain && set.number(**probe) < number;
        let before = self.probes.iter().filter(is_before).count();
        number.saturating_sub(u32::try_from(before).unwrap_or(0))
    }
}

/// `base` with a probe at `site`.
pub fn with(
    base: &Arc<Ruleset>,
    site: &Site,
    means: Means,
    tag: &Tag,
) -> Result<Arc<Ruleset>, ProbeError> {
    let table = base.table_named(&site.table);
    let chain = table.and_then(|table| base.chain_named(table, &site.chain));
    let chain = chain.ok_or(ProbeError::Gone("the chain"))?;
    let is_chain = |name: &[u8]| table.is_some_and(|table| base.chain_named(table, name).is_some());
    let (rule, matches) = match &site.before {
        None => (None, Vec::new()),
        Some(before) => (
            Some(find(base, base.chain(chain).rules(), before)?),
            matches_of(&before.spec, base.family(), &is_chain)?,
        ),
    };
    let mut spec = matches;
    let comment = format!("{LIMIT} -m comment --comment \"{tag}\" ");
    spec.extend_from_slice(comment.as_bytes());
    let prefix = prefix(site);
    let target = match means {
        Means::Kernel => format!("-j LOG --log-prefix \"{prefix}\""),
        Means::Group(group) => {
            format!("-j NFLOG --nflog-prefix \"{prefix}\" --nflog-group {group}")
        }
    };
    spec.extend_from_slice(target.as_bytes());
    let mut stage = Stage::new(Arc::clone(base));
    let row = rule.and_then(|rule| stage.shown().rows.get(rule.0 as usize));
    let at = Spot::new(&site.table, &site.chain, row.map(|row| row.id));
    stage.carry_out(Operation::Insert { at, spec })?;
    Ok(stage.staged())
}

/// `base` without the probes that `goes` names; `None` where none of them is there.
pub fn without(base: &Arc<Ruleset>, goes: impl Fn(&Tag) -> bool) -> Option<Arc<Ruleset>> {
    let found = probes(base);
    let mut going = found.iter().filter(|(_, tag)| goes(tag)).peekable();
    going.peek()?;
    let mut stage = Stage::new(Arc::clone(base));
    // The rows of a fresh stage are the rules of its base.
    let row = |rule: &RuleIdx| stage.shown().rows.get(rule.0 as usize).map(|row| row.id);
    let rows: Vec<_> = going.filter_map(|(rule, _)| row(rule)).collect();
    for row in rows {
        stage.carry_out(Operation::Delete { row }).ok()?;
    }
    Some(stage.staged())
}

/// The rule that is meant: the one at its number, else the only one of its text.
fn find(base: &Ruleset, rules: &[RuleIdx], before: &Before) -> Result<RuleIdx, ProbeError> {
    let is_it = |rule: &RuleIdx| base.spec(*rule) == before.spec.as_slice();
    let at = (before.number as usize).checked_sub(1);
    if let Some(rule) = at.and_then(|at| rules.get(at)).filter(|rule| is_it(rule)) {
        return Ok(*rule);
    }
    let mut alike = rules.iter().filter(|rule| is_it(rule));
    match (alike.next(), alike.next()) {
        (Some(rule), None) => Ok(*rule),
        (None, _) => Err(ProbeError::Gone("the rule")),
        (Some(_), Some(_)) => Err(ProbeError::Moved),
    }
}

/// The rule without its target and its comments, word for word, a blank behind each.
fn matches_of(
    spec: &[u8],
    family: Family,
    is_chain: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, ProbeError> {
    let (_, layout) = Layout::read(spec, family, is_chain);
    if layout.pieces.iter().any(|piece| piece.is_stray) {
        return Err(ProbeError::NotUnderstood);
    }
    let mut words = Vec::new();
    for (i, piece) in layout.pieces.iter().enumerate() {
        let loaded = || layout.held.iter().find(|held| held.piece == Some(i));
        let held = piece.of.and_then(|of| layout.held.get(of)).or_else(loaded);
        let leaves = held.is_some_and(|held| held.is_target || &*held.name == b"comment");
        if leaves
            || ["jump", "goto", "set-counters"]
                .iter()
                .any(|option| piece.is_general(option))
        {
            continue;
        }
        if let Some(held) = held {
            let name = String::from_utf8_lossy(&held.name).into_owned();
            let writes = name == "recent" && ["set", "update", "remove"].contains(&piece.option);
            if SHARED.contains(&name.as_str()) || writes {
                return Err(ProbeError::Shared(name));
            }
        }
        words.extend_from_slice(spec.get(piece.range()).unwrap_or_default());
        words.push(b' ');
    }
    Ok(words)
}

/// `probe INPUT 3: `, as much of it as fits. What could end the quotes is left out.
fn prefix(site: &Site) -> String {
    let end = match &site.before {
        Some(before) => format!(" {}: ", before.shown),
        None => " policy: ".to_owned(),
    };
    let room = PREFIX.saturating_sub("probe ".len() + end.len());
    let name = String::from_utf8_lossy(&site.chain);
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let name: String = name.chars().filter(plain).take(room).collect();
    format!("probe {name}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{merge, script};
    use crate::ruleset::{Backend, Origin};

    const DUMP: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        [1:1] -A INPUT -i lo -j ACCEPT\n\
        [2:2] -A INPUT -p tcp -m tcp --dport 22 -m comment --comment \"the door\" -j REJECT --reject-with tcp-reset\n\
        [3:3] -A INPUT -m recent --set --name a --mask 255.255.255.255 --rsource -j DROP\nCOMMIT\n";

    fn base() -> Arc<Ruleset> {
        let origin = Origin::new(Family::V4, Backend::Nft);
        Arc::new(Ruleset::parse(DUMP.as_bytes().to_vec(), origin).unwrap())
    }

    fn site(base: &Ruleset, number: Option<u32>) -> Site {
        let chain = base.find_chain("filter", "INPUT").unwrap();
        Site {
            table: b"filter".to_vec(),
            chain: b"INPUT".to_vec(),
            before: number.map(|number| Before {
                number,
                shown: number,
                spec: base
                    .spec(base.chain(chain).rules()[number as usize - 1])
                    .to_vec(),
            }),
        }
    }

    fn tag() -> Tag {
        Tag {
            id: "12-ab".to_owned(),
            deadline: 1_700_000_000,
        }
    }

    fn input(ruleset: &Ruleset) -> Vec<String> {
        let chain = ruleset.find_chain("filter", "INPUT").unwrap();
        let rules = ruleset.chain(chain).rules().iter();
        rules
            .map(|rule| String::from_utf8_lossy(ruleset.spec(*rule)).into_owned())
            .collect()
    }

    #[test]
    fn a_probe_has_the_matches_and_neither_target_nor_comment() {
        let base = base();
        let probed = with(&base, &site(&base, Some(2)), Means::Kernel, &tag()).unwrap();
        assert_eq!(
            input(&probed)[1],
            "-p tcp -m tcp --dport 22 -m limit --limit 10/sec --limit-burst 20 -m comment \
             --comment \"ruletop-probe:12-ab:1700000000\" -j LOG --log-prefix \"probe INPUT 2: \""
        );
        assert_eq!(probes(&probed), [(RuleIdx(1), tag())]);
        let bare = without(&probed, |found| found.id == tag().id).unwrap();
        assert_eq!(input(&bare), input(&base));
        assert!(without(&probed, |found| found.id == "other").is_none());
    }

    #[test]
    fn before_the_policy_is_the_end_of_the_chain() {
        let base = base();
        let probed = with(&base, &site(&base, None), Means::Group(7), &tag()).unwrap();
        let rules = input(&probed);
        assert!(
            rules[3].ends_with("-j NFLOG --nflog-prefix \"probe INPUT policy: \" --nflog-group 7")
        );
        assert_eq!(rules.len(), 4);
    }

    #[test]
    fn a_rule_that_counts_for_others_is_not_probed() {
        let base = base();
        let no = with(&base, &site(&base, Some(3)), Means::Kernel, &tag());
        assert_eq!(no.unwrap_err(), ProbeError::Shared("recent".to_owned()));
    }

    #[test]
    fn a_rule_that_moved_is_found_and_one_that_went_is_not() {
        let base = base();
        let mut moved = site(&base, Some(2));
        moved.before.as_mut().unwrap().number = 1;
        let probed = with(&base, &moved, Means::Kernel, &tag()).unwrap();
        assert_eq!(probes(&probed)[0].0, RuleIdx(1));
        moved.before.as_mut().unwrap().spec = b"-j DROP".to_vec();
        let gone = with(&base, &moved, Means::Kernel, &tag());
        assert_eq!(gone.unwrap_err(), ProbeError::Gone("the rule"));
    }

    #[test]
    fn only_what_logs_and_has_the_tag_as_its_comment_is_a_probe() {
        for no in [
            "-m comment --comment ruletop-probe:a:1 -j DROP",
            "-m comment --comment ruletop-probe:a:1",
            "-m comment --comment ruletop-probe:a -j LOG",
            "-m comment --comment ruletop-probe::1 -j LOG",
            "-m comment --comment \"not ruletop-probe:a:1\" -j LOG",
            "-m comment --comment \"ruletop-probe:a:1 -j LOG \" -j DROP",
            "-j LOG --log-prefix ruletop-probe:a:1",
            "",
        ] {
            assert_eq!(tag_of(no.as_bytes()), None, "{no}");
        }
        let yes = "-m comment --comment \"ruletop-probe:a:1\" -j LOG";
        assert_eq!(tag_of(yes.as_bytes()).unwrap().id, "a");
    }

    /// A probe that comes or goes between staging and apply is no conflict, and is neither made nor removed.
    #[test]
    fn an_apply_carries_over_probes_that_come_and_go() {
        let plain = base();
        let probed = with(&plain, &site(&plain, Some(2)), Means::Kernel, &tag()).unwrap();
        for (before, now) in [(&plain, &probed), (&probed, &plain), (&probed, &probed)] {
            let mut stage = Stage::new(Arc::clone(before));
            let last = before.rules().last().unwrap();
            let id = |rule: usize| stage.shown().rows[rule].id;
            let (row, to) = (id(last.0 as usize), id(last.0 as usize - 1));
            let to = Spot::new("filter", "INPUT", to);
            stage.carry_out(Operation::Move { row, to }).unwrap();
            let merged = merge(before, &stage.staged(), now);
            assert!(
                merged
                    .remarks
                    .iter()
                    .all(|r| r.is_harmless() || matches!(r, crate::edit::Remark::PlaceChanged(_))),
                "{:?}",
                merged.remarks
            );
            assert_eq!(probes(&merged.ruleset).len(), probes(now).len());
            assert!(script(now, &merged.ruleset, &now.saved_counters()).is_ok());
            let (rebased, _) = stage.rebase(Arc::clone(now));
            assert_eq!(rebased.count(), 1);
            assert_eq!(probes(&rebased.staged()).len(), probes(now).len());
        }
    }
}
