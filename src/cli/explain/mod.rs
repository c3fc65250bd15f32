//! `ruletop explain`: what becomes of a packet, which rule decides, and which rules it met on the way.
//!
//! One packet in words or as JSON, or a file of packets with one verdict a line. With `--file` it asks a
//! saved dump and needs no root; without, this box, whose addresses and clock are then known too, and of which
//! the causes that are not its firewall are told beside (`elsewhere` in the JSON). Of one packet that opens a
//! connection its answer and what follows are asked about too (`connection` in the JSON), since nobody is served
//! without them; the verdict is about the packet alone. Exit code 0: every packet is accepted; 1: a packet is
//! blocked, by a rule or by something else, or what must follow it is, or it cannot be told (what is not known to
//! get through is a finding).

mod show;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{Failure, export, input, print};
use crate::flow::Machine;
use crate::host;
use crate::netfilter::native;
use crate::netfilter::netlink::Netlink;
use crate::netfilter::nftables::inspect::inspect;
use crate::netfilter::xtables::beside::sets_for;
use crate::ruleset::{Backend, BaseChain, Document, Family, Lossy, Marked, Ruleset};
use crate::ui::words::clean_str;
use crate::verdict::Probe;
use crate::verdict::{
    Cause, EXAMPLE, Explanation, Facts, Grade, Program, SCHEMA, Verdict, Words, causes, completed,
    elsewhere, explained, homeward, looped, not_in_dump, questions, read_words_as, sets, settle,
};

/// Which packet, and where.
#[derive(Debug, Args)]
pub struct Explain {
    /// The packet: `tcp 203.0.113.9 -> :443 in eth0`, `udp 10.0.0.1:5353 -> 224.0.0.251:5353 in eth0 out
    /// eth1`, or as JSON. New connections (and of TCP a SYN) unless it says `established`, `related`,
    /// `invalid` or `untracked`
    #[arg(value_name = "PACKET", required_unless_present = "packets")]
    packet: Vec<String>,
    /// Packets from a file instead, one JSON object a line; - for standard input. One verdict a line
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "packet",
        requires = "json"
    )]
    packets: Option<PathBuf>,
    /// A saved dump instead of this box; - for standard input
    #[arg(long, value_name = "DUMP")]
    file: Option<PathBuf>,
    /// ipsets, as `ipset save` prints them
    #[arg(long, value_name = "FILE")]
    sets: Option<PathBuf>,
    /// An address of the box that a dump is from; may stand several times
    #[arg(long, value_name = "ADDRESS")]
    local: Vec<IpAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The rulesets of one family with their program.
struct Side<'a> {
    rulesets: Vec<&'a Ruleset>,
    program: Program,
}

impl<'a> Side<'a> {
    fn new(family: Family, document: &'a Document, native: &[BaseChain], live: bool) -> Self {
        let of_family = |ruleset: &&Ruleset| ruleset.family() == family;
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().filter(of_family).collect();
        let is_nft = |ruleset: &&Ruleset| ruleset.backend() == Some(Backend::Nft);
        // Of a dump, and of what legacy holds, no more is known than the text.
        let marks = |ruleset: &&Ruleset| {
            if live && is_nft(ruleset) {
                lossy(family, ruleset)
            } else {
                Vec::new()
            }
        };
        let lossy: Vec<Vec<Lossy>> = rulesets.iter().map(marks).collect();
        let both = rulesets.iter().copied().zip(&lossy);
        let marked: Vec<Marked<'_>> = both
            .map(|(ruleset, lossy)| Marked { ruleset, lossy })
            .collect();
        let program = Program::compile_marked(family, &marked, native);
        Self { rulesets, program }
    }
}

/// What of the box the packets are about: nothing of a dump's.
struct Here {
    live: bool,
    machine: Machine,
    facts: Facts,
    native: Vec<BaseChain>,
}

/// Explains.
pub fn run(explain: &Explain) -> Result<ExitCode, Failure> {
    let asked = Asked::of(explain)?;
    // What is no packet is said before anything is read.
    let mut probes = asked.probes(Family::V4)?;
    let document = match &explain.file {
        Some(path) => input::document(path)?,
        None => export::live()?,
    };
    let live = explain.file.is_none();
    if !live && family_of(&document) == Some(Family::V6) {
        probes = asked.probes(Family::V6)?;
    }
    let machine = if live {
        host::links()
    } else {
        Machine::default()
    };
    let mut here = Here {
        live,
        facts: facts(explain, &document, &machine)?,
        machine,
        native: if live { natives() } else { Vec::new() },
    };
    let four = Side::new(Family::V4, &document, &here.native, live);
    let six = Side::new(Family::V6, &document, &here.native, live);
    let mut out = Vec::new();
    let mut all_accepted = true;
    for probe in probes {
        let side = match probe.family {
            Family::V4 => &four,
            Family::V6 => &six,
        };
        let (probe, explanation) = match &explain.packets {
            _ if !live && side.rulesets.is_empty() => match explain.packets {
                None => return Err(not_of_it(&probe)),
                Some(_) => {
                    let untold = Explanation::untold(not_in_dump(probe.family));
                    (probe, untold)
                }
            },
            None => side.explain_one(probe, &mut here),
            Some(_) => side.explain_of_many(probe, &mut here),
        };
        all_accepted &= explanation.verdict == Verdict::Accept;
        // Of one packet its connection and the rest of the box are looked at too; a file of them is about the rules
        // and these packets alone.
        let others = match explain.packets {
            None => side.program.others(&probe, &here.facts, &side.rulesets),
            Some(_) => Vec::new(),
        };
        let connection = causes(&explanation, &others, &side.rulesets);
        all_accepted &= connection.iter().all(|cause| cause.grade == Grade::Fine);
        let around = match explain.packets {
            None if live => beside(&probe, &explanation, &here),
            _ => Vec::new(),
        };
        all_accepted &= around.iter().all(|cause| cause.grade != Grade::Blocks);
        if explain.json {
            let mut json = explanation.to_json(probe.family, &side.rulesets);
            if let (None, Some(fields)) = (&explain.packets, json.as_object_mut()) {
                fields.insert("schema".into(), SCHEMA.into());
                let others = others.iter();
                let others = others.map(|other| other.to_json(&side.rulesets));
                fields.insert("connection".into(), others.collect());
                if live {
                    fields.insert("elsewhere".into(), serde_json::json!(around));
                }
            }
            out.extend_from_slice(json.to_string().as_bytes());
            out.push(b'\n');
        } else {
            let page = show::Page {
                probe: &probe,
                explanation: &explanation,
                rulesets: &side.rulesets,
                others: &others,
                connection: &connection,
                causes: &around,
            };
            show::show(&mut out, &page);
        }
    }
    print(&out)?;
    Ok(if all_accepted {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// The family of a dump that holds rules of one.
fn family_of(document: &Document) -> Option<Family> {
    let mut families = document.rulesets().iter().map(Ruleset::family);
    let first = families.next()?;
    families.all(|family| family == first).then_some(first)
}

/// A dump that lacks the packet's family says nothing of it: not that there are no rules.
fn not_of_it(probe: &Probe) -> Failure {
    let packet = Words(probe).to_string();
    Failure::input(
        format!(
            "{}, and {} is of that family",
            not_in_dump(probe.family),
            clean_str(&packet)
        ),
        "give a dump of that family, as iptables-save or ip6tables-save prints it, or one of both",
    )
}

/// What was asked, as it was typed.
enum Asked {
    /// Words, or one JSON object.
    One(String),
    /// One JSON object a line, and the name of their file.
    Many(Vec<u8>, String),
}

impl Asked {
    fn of(explain: &Explain) -> Result<Self, Failure> {
        Ok(match &explain.packets {
            Some(path) => Self::Many(input::read(path)?, input::name(path)),
            None => Self::One(explain.packet.join(" ")),
        })
    }

    /// The packets, of `usual` where they do not tell their family. All or none: one that is not understood is
    /// refused before there is an answer to any.
    fn probes(&self, usual: Family) -> Result<Vec<Probe>, Failure> {
        match self {
            Self::One(text) => read_words_as(text, usual)
                .map(|probe| vec![probe])
                .map_err(|error| Failure::input(error.to_string(), EXAMPLE)),
            Self::Many(text, name) => many(text, name, usual),
        }
    }
}

/// One packet a line; empty lines are passed by, and the mark that some editors begin a text with (U+FEFF).
fn many(text: &[u8], name: &str, usual: Family) -> Result<Vec<Probe>, Failure> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').zip(1_u64..);
    let filled = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    filled
        .map(|(line, number)| {
            Probe::from_json_as(line, usual).map_err(|error| {
                Failure::input(
                    format!("{name}: line {number}: {error}"),
                    "each line is one packet, a JSON object as in the manual; nothing was answered",
                )
            })
        })
        .collect()
}

/// Answers of the kernel that are kept while a file of packets is gone through.
const KEPT: usize = 256;

impl Side<'_> {
    /// One packet: on a live box with what the box says of it, as on the screen.
    fn explain_one(&self, packet: Probe, here: &mut Here) -> (Probe, Explanation) {
        if !here.live {
            return self.as_said(looped(&packet), here);
        }
        let open = packet.output.is_none();
        let probe = completed(&packet, &mut here.machine, &mut host::routes).pop();
        let probe = looped(&probe.unwrap_or(packet));
        let probe = homeward(probe, &mut here.machine, &mut host::routes);
        self.explained(probe, open, here)
    }

    /// One of a file of packets, where what is left out stays open, but for the way that its destination tells.
    fn explain_of_many(&self, packet: Probe, here: &mut Here) -> (Probe, Explanation) {
        if !here.live {
            return self.as_said(packet, here);
        }
        if here.machine.routes.len() > KEPT {
            here.machine.routes.clear();
        }
        let turned = settle(&packet, &here.machine);
        if turned.path == packet.path {
            return self.explained(turned, false, here);
        }
        let whole = completed(&packet, &mut here.machine, &mut host::routes).pop();
        let output = whole.and_then(|whole| whole.output);
        self.explained(Probe { output, ..turned }, true, here)
    }

    fn as_said(&self, probe: Probe, here: &Here) -> (Probe, Explanation) {
        let explanation = self.program.explain(&probe, &here.facts, &self.rulesets);
        (probe, explanation)
    }

    fn explained(&self, probe: Probe, open: bool, here: &mut Here) -> (Probe, Explanation) {
        explained(
            &self.program,
            (probe, open),
            (&here.facts, &self.rulesets),
            &mut here.machine,
            &mut host::routes,
        )
    }
}

/// What is known of the box: of this one its addresses and its clock, of a dump's only what is said.
fn facts(explain: &Explain, document: &Document, links: &Machine) -> Result<Facts, Failure> {
    let mut facts = match explain.file {
        Some(_) => Facts::default(),
        None => Facts::of(links),
    };
    if let Some(path) = &explain.sets {
        facts.sets = sets::read(&input::read(path)?);
    } else if explain.file.is_none() {
        let dumps = document.rulesets().iter().map(Ruleset::bytes);
        facts.sets = sets::read(&sets_for(dumps));
    }
    if !explain.local.is_empty() {
        facts.local = Some(explain.local.clone());
    }
    if explain.file.is_none() {
        facts.now = Some(
            jiff::Timestamp::now()
                .to_zoned(jiff::tz::TimeZone::UTC)
                .datetime(),
        );
    }
    Ok(facts)
}

/// What of this box beside its rules stops the packet, or may.
fn beside(probe: &Probe, explanation: &Explanation, here: &Here) -> Vec<Cause> {
    let asked = questions(probe, explanation, &here.machine);
    elsewhere(probe, explanation, &host::machine(&asked), &here.native)
}

/// Rules of this box whose text says less than the kernel holds. Where that cannot be told it is said.
fn lossy(family: Family, ruleset: &Ruleset) -> Vec<Lossy> {
    let seen = Netlink::open()
        .map_err(|error| error.to_string())
        .and_then(|mut netlink| inspect(&mut netlink, family).map_err(|error| error.to_string()));
    match seen {
        Ok(seen) => seen.lossy_of(ruleset),
        Err(error) => {
            let mut err = std::io::stderr().lock();
            // Nobody may be listening there.
            let _ = writeln!(err, "ruletop: rules are taken as their text says: {error}");
            Vec::new()
        }
    }
}

/// The native nft chains of this box, which decide too. Where they cannot be listed that is said.
fn natives() -> Vec<BaseChain> {
    let listed = Netlink::open().and_then(|mut netlink| native::base_chains(&mut netlink));
    match listed {
        Ok(mut chains) => {
            chains.retain(|chain| !native::is_shown_by_iptables(chain));
            chains
        }
        Err(error) => {
            let mut err = std::io::stderr().lock();
            // Nobody may be listening there.
            let _ = writeln!(err, "ruletop: native nft chains are left out: {error}");
            Vec::new()
        }
    }
}
