//! Stand-ins for the room `edit`: merge and script, plain and slow, until it is there.

use std::collections::{HashMap, HashSet};

use crate::ruleset::{ChainIdx, CounterSet, Counters, Origin, RuleIdx, Ruleset};

type Id = (Vec<u8>, u32);

fn ids(set: &Ruleset, chain: ChainIdx) -> Vec<(Id, RuleIdx)> {
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    set.chain(chain)
        .rules()
        .iter()
        .map(|rule| {
            let text = set.normal_spec(*rule).into_owned();
            let n = seen.entry(text.clone()).or_default();
            let id = (text, *n);
            *n += 1;
            (id, *rule)
        })
        .collect()
}

fn chains(set: &Ruleset) -> Vec<(String, Vec<u8>, ChainIdx)> {
    let mut out = Vec::new();
    for table in set.tables() {
        for chain in table.chains() {
            out.push((
                table.name().to_owned(),
                set.chain(*chain).name_bytes().to_vec(),
                *chain,
            ));
        }
    }
    out
}

fn find(set: &Ruleset, table: &str, chain: &[u8]) -> Option<ChainIdx> {
    set.chain_named(set.find_table(table)?, chain)
}

/// The result of a merge.
pub struct Merge {
    /// What it comes to.
    pub ruleset: Ruleset,
    /// Where theirs and ours do not go together.
    pub remarks: Vec<String>,
}

/// What base -> ours changed, done to theirs.
pub fn merge(base: &Ruleset, ours: &Ruleset, theirs: &Ruleset, origin: Origin) -> Merge {
    let mut remarks = Vec::new();
    let mut tables: Vec<String> = Vec::new();
    for set in [theirs, ours] {
        for table in set.tables() {
            if !tables.iter().any(|t| t == table.name()) {
                tables.push(table.name().to_owned());
            }
        }
    }
    let mut text = Vec::new();
    for table in &tables {
        text.extend_from_slice(format!("*{table}\n").as_bytes());
        let mut names: Vec<Vec<u8>> = Vec::new();
        for set in [theirs, ours] {
            for (t, name, _) in chains(set) {
                if t == *table && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.retain(|name| {
            let in_base = find(base, table, name).is_some();
            let in_ours = find(ours, table, name);
            let in_theirs = find(theirs, table, name).is_some();
            match in_ours {
                None => in_theirs && !in_base,
                Some(idx) => in_theirs || !in_base || ours.chain(idx).is_builtin(),
            }
        });
        let mut body = Vec::new();
        for name in &names {
            let at = |set: &Ruleset| find(set, table, name);
            let policy = |set: &Ruleset| at(set).and_then(|c| set.chain(c).policy());
            let wanted = if policy(base) == policy(ours) {
                policy(theirs).or(policy(ours))
            } else {
                policy(ours).or(policy(theirs))
            };
            text.push(b':');
            text.extend_from_slice(name);
            text.extend_from_slice(
                format!(
                    " {} [0:0]\n",
                    wanted.map_or("-", crate::ruleset::Policy::name)
                )
                .as_bytes(),
            );
            let of = |set: &Ruleset| at(set).map(|c| ids(set, c)).unwrap_or_default();
            let (b, o, t) = (of(base), of(ours), of(theirs));
            for (id, counters) in merge_chain(&b, &o, &t, ours, theirs, &mut remarks) {
                body.extend_from_slice(
                    format!("[{}:{}] -A ", counters.packets, counters.bytes).as_bytes(),
                );
                body.extend_from_slice(name);
                body.push(b' ');
                body.extend_from_slice(&id.0);
                body.push(b'\n');
            }
        }
        text.extend_from_slice(&body);
        text.extend_from_slice(b"COMMIT\n");
    }
    let ruleset = Ruleset::parse(text, origin).unwrap_or_else(|_| unreachable!());
    Merge { ruleset, remarks }
}

fn merge_chain(
    base: &[(Id, RuleIdx)],
    ours: &[(Id, RuleIdx)],
    theirs: &[(Id, RuleIdx)],
    our_set: &Ruleset,
    their_set: &Ruleset,
    remarks: &mut Vec<String>,
) -> Vec<(Id, Counters)> {
    let set = |list: &[(Id, RuleIdx)]| {
        list.iter()
            .map(|(id, _)| id.clone())
            .collect::<HashSet<_>>()
    };
    let (in_base, in_ours, in_theirs) = (set(base), set(ours), set(theirs));
    let stays: HashSet<Id> = lcs(base, ours);
    let touched: HashSet<Id> = in_ours
        .iter()
        .filter(|id| !stays.contains(*id))
        .cloned()
        .collect();
    let mut result: Vec<(Id, Counters)> = theirs
        .iter()
        .filter(|(id, _)| !(in_base.contains(id) && !in_ours.contains(id)))
        .map(|(id, rule)| (id.clone(), their_set.saved_counters().rule(*rule)))
        .collect();
    for (at, (id, rule)) in ours.iter().enumerate() {
        if !touched.contains(id) {
            continue;
        }
        if in_base.contains(id) && !in_theirs.contains(id) {
            remarks.push(format!("gone: {}", String::from_utf8_lossy(&id.0)));
            continue;
        }
        let here = |r: &[(Id, Counters)], id: &Id| r.iter().position(|(i, _)| i == id);
        let before = ours
            .get(..at)
            .unwrap_or_default()
            .iter()
            .rev()
            .find_map(|(i, _)| here(&result, i));
        let after = ours
            .get(at + 1..)
            .unwrap_or_default()
            .iter()
            .filter(|(i, _)| !touched.contains(i))
            .find_map(|(i, _)| here(&result, i));
        let counters = match here(&result, id) {
            Some(now) if before.is_none_or(|b| b < now) && after.is_none_or(|a| now < a) => {
                continue;
            }
            Some(now) => result.remove(now).1,
            None => our_set.saved_counters().rule(*rule),
        };
        let before = ours
            .get(..at)
            .unwrap_or_default()
            .iter()
            .rev()
            .find_map(|(i, _)| here(&result, i));
        result.insert(before.map_or(0, |b| b + 1), (id.clone(), counters));
    }
    result
}

fn lcs(a: &[(Id, RuleIdx)], b: &[(Id, RuleIdx)]) -> HashSet<Id> {
    let n = b.len();
    let mut len = vec![vec![0_u32; n + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..n).rev() {
            len[i][j] = if a[i].0 == b[j].0 {
                len[i + 1][j + 1] + 1
            } else {
                len[i + 1][j].max(len[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = HashSet::new();
    while i < a.len() && j < n {
        if a[i].0 == b[j].0 {
            out.insert(a[i].0.clone());
            i += 1;
            j += 1;
        } else if len[i + 1][j] >= len[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}

/// The script that turns `from` into `to`.
pub fn script(from: &Ruleset, to: &Ruleset, counters: &CounterSet) -> Vec<u8> {
    let mut out = Vec::new();
    let mut tables: Vec<&str> = to
        .tables()
        .iter()
        .map(crate::ruleset::Table::name)
        .collect();
    for table in from.tables() {
        if !tables.contains(&table.name()) {
            tables.push(table.name());
        }
    }
    for table in tables {
        script_table(from, to, counters, table, &mut out);
    }
    out
}

fn script_table(
    from: &Ruleset,
    to: &Ruleset,
    counters: &CounterSet,
    table: &str,
    out: &mut Vec<u8>,
) {
    let mine = |set: &Ruleset| -> Vec<(Vec<u8>, ChainIdx)> {
        chains(set)
            .into_iter()
            .filter(|(t, _, _)| t == table)
            .map(|(_, n, c)| (n, c))
            .collect()
    };
    let (old, new) = (mine(from), mine(to));
    let (mut head, mut body, mut tail) = (Vec::new(), Vec::new(), Vec::new());
    let mut changed = false;
    for (name, idx) in &new {
        let was = find(from, table, name);
        let chain = to.chain(*idx);
        if chain.is_builtin() {
            let now = was.and_then(|w| from.chain(w).policy());
            let c = was.map_or(Counters::default(), |w| counters.policy(w));
            let policy = chain.policy().or(now);
            changed |= policy != now && policy != Some(crate::ruleset::Policy::Accept)
                || (was.is_some() && policy != now);
            head.extend_from_slice(b":");
            head.extend_from_slice(name);
            head.extend_from_slice(
                format!(
                    " {} [{}:{}]\n",
                    policy.map_or("-", crate::ruleset::Policy::name),
                    c.packets,
                    c.bytes
                )
                .as_bytes(),
            );
        } else if was.is_none() {
            changed = true;
            head.extend_from_slice(b":");
            head.extend_from_slice(name);
            head.extend_from_slice(b" - [0:0]\n");
        }
        let a = was.map(|w| ids(from, w)).unwrap_or_default();
        let b = ids(to, *idx);
        let keep = lcs(&a, &b);
        let mut had: HashMap<&Id, Counters> = HashMap::new();
        for (n, (id, rule)) in a.iter().enumerate().rev() {
            had.insert(id, counters.rule(*rule));
            if !keep.contains(id) {
                changed = true;
                body.extend_from_slice(b"-D ");
                body.extend_from_slice(name);
                body.extend_from_slice(format!(" {}\n", n + 1).as_bytes());
            }
        }
        for (n, (id, rule)) in b.iter().enumerate() {
            if !keep.contains(id) {
                changed = true;
                let c = had
                    .get(id)
                    .copied()
                    .unwrap_or_else(|| to.saved_counters().rule(*rule));
                body.extend_from_slice(format!("[{}:{}] -I ", c.packets, c.bytes).as_bytes());
                body.extend_from_slice(name);
                body.extend_from_slice(format!(" {} ", n + 1).as_bytes());
                body.extend_from_slice(&id.0);
                body.push(b'\n');
            }
        }
    }
    for (name, idx) in &old {
        if find(to, table, name).is_some() {
            continue;
        }
        if from.chain(*idx).is_builtin() {
            for n in (1..=from.chain(*idx).rules().len()).rev() {
                changed = true;
                body.extend_from_slice(b"-D ");
                body.extend_from_slice(name);
                body.extend_from_slice(format!(" {n}\n").as_bytes());
            }
            if from.chain(*idx).policy() == Some(crate::ruleset::Policy::Drop) {
                changed = true;
                head.extend_from_slice(b":");
                head.extend_from_slice(name);
                head.extend_from_slice(b" ACCEPT [0:0]\n");
            }
            continue;
        }
        changed = true;
        for n in (1..=from.chain(*idx).rules().len()).rev() {
            body.extend_from_slice(b"-D ");
            body.extend_from_slice(name);
            body.extend_from_slice(format!(" {n}\n").as_bytes());
        }
        tail.extend_from_slice(b"-X ");
        tail.extend_from_slice(name);
        tail.push(b'\n');
    }
    if changed {
        out.extend_from_slice(format!("*{table}\n").as_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&body);
        out.extend_from_slice(&tail);
        out.extend_from_slice(b"COMMIT\n");
    }
}
