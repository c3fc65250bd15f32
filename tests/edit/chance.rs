//! Random rulesets and random operations, the same for the same number.

use ruletop::edit::{ChainName, Operation, RowId, Spot, Stage};
use ruletop::ruleset::{Family, Origin, Policy};

/// How many cases to run: RULETOP_CASES says otherwise.
pub fn cases(usual: u64) -> u64 {
    let said = std::env::var("RULETOP_CASES").ok();
    said.map_or(usual, |said| {
        said.parse().expect("RULETOP_CASES is a number")
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % sides.max(1) as u64).unwrap()
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// Built-in chains by table.
pub const TABLES: &[(&str, &[&str])] = &[
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    (
        "mangle",
        &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    ),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("raw", &["PREROUTING", "OUTPUT"]),
];

/// User chains that there may be in any table. Odd on purpose; the tools take all of them.
pub const USER_CHAINS: &[&str] = &[
    "a",
    "b",
    "it's",
    "web:80",
    "$HOME",
    "x#y",
    "longest-name-that-there-can",
    "\u{fc}ber",
];

/// A rule as the save tool prints it, that any chain of any table may have.
pub fn spec(dice: &mut Dice, family: Family, chains: &[&str]) -> String {
    let n = dice.roll(6) + 1;
    let address = match family {
        Family::V4 => format!("10.0.0.{n}/32"),
        Family::V6 => format!("fd00::{n}/128"),
    };
    let ping = match family {
        Family::V4 => "-p icmp -m icmp --icmp-type 8",
        Family::V6 => "-p ipv6-icmp -m icmp6 --icmpv6-type 128",
    };
    let matched = match dice.roll(8) {
        0 => format!("-p tcp -m tcp --dport {}", 20 + n),
        1 => format!("-s {address}"),
        2 => format!("! -d {address} -p udp -m udp --sport {n}"),
        3 => ping.to_owned(),
        4 => "-m conntrack --ctstate RELATED,ESTABLISHED".to_owned(),
        5 => format!("-m comment --comment \"it\\'s \\\"{n}\\\" `id` $HOME \\\\ -j DROP\""),
        6 => "-m limit --limit 3/min".to_owned(),
        _ => String::new(),
    };
    let target = match dice.roll(8) {
        0 | 1 => "-j ACCEPT".to_owned(),
        2 => "-j RETURN".to_owned(),
        3 => "-j LOG --log-prefix \"a b: \"".to_owned(),
        4 if !chains.is_empty() => format!("-g {}", dice.pick(chains)),
        5 | 6 if !chains.is_empty() => format!("-j {}", dice.pick(chains)),
        _ => String::new(),
    };
    format!("{matched} {target}").trim().to_owned()
}

/// Restore input: tables with rules, user chains that call only later ones, and counters.
pub fn dump(dice: &mut Dice, origin: Origin, rules: usize) -> String {
    let mut text = String::new();
    let mut count = 0;
    for (table, builtin) in TABLES {
        if *table != "filter" && dice.roll(3) > 0 {
            continue;
        }
        text += &format!("*{table}\n");
        for chain in *builtin {
            // nat refuses a policy other than ACCEPT in places.
            let policy = if *table == "filter" && dice.roll(3) == 0 {
                "DROP"
            } else {
                "ACCEPT"
            };
            count += 7;
            text += &format!(":{chain} {policy} [{count}:{}]\n", count * 60);
        }
        let first = dice.roll(USER_CHAINS.len());
        let user = &USER_CHAINS[first..];
        for chain in user {
            text += &format!(":{chain} - [0:0]\n");
        }
        let all: Vec<&str> = builtin.iter().chain(user).copied().collect();
        for _ in 0..dice.roll(rules) {
            let at = dice.roll(all.len());
            let callable = &user[(at + 1).saturating_sub(builtin.len()).min(user.len())..];
            let spec = spec(dice, origin.family, callable);
            count += 1;
            text += &format!("[{count}:{}] -A {} {spec}\n", count * 60, all[at]);
        }
        text += "COMMIT\n";
    }
    text
}

/// An operation that makes some sense for the stage as it is; it may well be refused.
pub fn operation(dice: &mut Dice, stage: &Stage) -> Operation {
    let shown = stage.shown();
    let ruleset = &shown.ruleset;
    let chains = ruleset.chains();
    let names: Vec<ChainName> = chains
        .iter()
        .map(|c| ChainName::new(ruleset.table(c.table()).name(), c.name()))
        .collect();
    let chain = dice.pick(&names).clone();
    let row = match shown.rows.len() {
        0 => RowId(7777),
        rows => shown.rows[dice.roll(rows)].id,
    };
    let spot = |dice: &mut Dice, near: Option<RowId>| {
        // Mostly in the chain of a row, sometimes anywhere.
        let home = near.filter(|_| dice.roll(4) > 0);
        let home = home.and_then(|row| ruleset.chain_of(shown.rule_of(row)?));
        let name = match home {
            Some(home) => names[home.0 as usize].clone(),
            None => dice.pick(&names).clone(),
        };
        let index = names.iter().position(|n| *n == name).unwrap();
        let rules = chains[index].rules();
        let before = rules.get(dice.roll(rules.len() + 1));
        let before = before.map(|rule| shown.row(*rule).unwrap().id);
        Spot::new(&name.table, &name.chain, before)
    };
    let new_spec = |dice: &mut Dice| {
        let table = ruleset.table_named(&chain.table).unwrap();
        let of_table = chains
            .iter()
            .filter(|c| c.table() == table && !c.is_builtin());
        let callable: Vec<&str> = of_table.map(ruletop::ruleset::Chain::name).collect();
        spec(dice, ruleset.family(), &callable).into_bytes()
    };
    let user_name = |dice: &mut Dice| {
        let name = *dice.pick(USER_CHAINS);
        if dice.roll(2) == 0 {
            format!("n{name}")
        } else {
            name.to_owned()
        }
    };
    match dice.roll(20) {
        0..=4 => Operation::Move {
            row,
            to: spot(dice, Some(row)),
        },
        5..=7 => Operation::Insert {
            at: spot(dice, None),
            spec: new_spec(dice),
        },
        8 => Operation::Replace {
            row,
            spec: new_spec(dice),
        },
        9 => Operation::Duplicate { row },
        10 | 11 => Operation::Delete { row },
        12 => Operation::Disable { row },
        13 => Operation::Enable { row },
        14 => Operation::SetPolicy {
            // Only filter takes DROP everywhere.
            policy: if &*chain.table == b"filter" && dice.roll(2) == 0 {
                Policy::Drop
            } else {
                Policy::Accept
            },
            chain,
        },
        15 => {
            let table = dice.pick(TABLES).0;
            Operation::AddChain {
                chain: ChainName::new(table, user_name(dice)),
            }
        }
        16 => Operation::RenameChain {
            chain,
            name: user_name(dice).into_bytes().into(),
        },
        17 => Operation::DeleteChain { chain },
        18 => Operation::ZeroRule { row },
        _ => Operation::ZeroChain { chain },
    }
}

/// Carries out up to `tries` operations, with an undo or redo in between; those that were.
pub fn act(dice: &mut Dice, stage: &mut Stage, tries: usize) -> Vec<Operation> {
    for _ in 0..tries {
        match dice.roll(12) {
            0 => {
                stage.undo();
            }
            1 => {
                stage.redo();
            }
            _ => {
                let operation = operation(dice, stage);
                // What is refused must leave everything as it is; `pure` looks at that.
                let _ = stage.carry_out(operation);
            }
        }
    }
    stage.history().cloned().collect()
}
