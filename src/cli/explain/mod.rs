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

use std::collections::HashSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::app::why::question::{sent_on, with_way_back};
use crate::cli::{Failure, export, input, print};
use crate::flow::{Machine, RouteQuestion};
use crate::host;
use crate::netfilter::native;
use crate::netfilter::netlink::Netlink;
use crate::netfilter::nftables::inspect::inspect;
use crate::netfilter::xtables::beside::sets_for;
use crate::ruleset::{Backend, BaseChain, Document, Family, Lossy, Marked, Ruleset};
use crate::verdict::Probe;
use crate::verdict::{
    Cause, EXAMPLE, Explanation, Facts, Grade, Program, SCHEMA, Verdict, causes, complete,
    elsewhere, gaps, looped, questions, read_words, sets, settle,
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

    fn explain(&self, probe: &Probe, facts: &Facts) -> Explanation {
        self.program.explain(probe, facts, &self.rulesets)
    }
}

/// Explains.
pub fn run(explain: &Explain) -> Result<ExitCode, Failure> {
    let links = match explain.file {
        Some(_) => Machine::default(),
        None => host::links(),
    };
    let probes = match &explain.packets {
        Some(path) => many(path)?,
        None => vec![words(&explain.packet)?],
    };
    let asked = probes.first().cloned();
    let probes = on_their_way(probes, &links);
    let document = match &explain.file {
        Some(path) => input::document(path)?,
        None => export::live()?,
    };
    let native = if explain.file.is_none() {
        natives()
    } else {
        Vec::new()
    };
    let live = explain.file.is_none();
    let facts = facts(explain, &document, &links)?;
    let four = Side::new(Family::V4, &document, &native, live);
    let six = Side::new(Family::V6, &document, &native, live);
    let mut out = Vec::new();
    let mut all_accepted = true;
    for probe in &probes {
        let side = match probe.family {
            Family::V4 => &four,
            Family::V6 => &six,
        };
        let alone = explain.packets.is_none();
        let looped = if alone { looped(probe) } else { probe.clone() };
        let probe = &looped;
        let (probe, explanation) = if alone && live {
            on_the_box(side, asked.as_ref(), probe, &facts, &links)
        } else {
            (probe.clone(), side.explain(probe, &facts))
        };
        let probe = &probe;
        all_accepted &= explanation.verdict == Verdict::Accept;
        // Of one packet its connection and the rest of the box are looked at too; a file of them is about the rules
        // and these packets alone.
        let others = if alone {
            side.program.others(probe, &facts, &side.rulesets)
        } else {
            Vec::new()
        };
        let connection = causes(&explanation, &others, &side.rulesets);
        all_accepted &= connection.iter().all(|cause| cause.grade == Grade::Fine);
        let around = match (&explain.file, &explain.packets) {
            (None, None) => beside(probe, &explanation, &links, &native),
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
                if explain.file.is_none() {
                    fields.insert("elsewhere".into(), serde_json::json!(around));
                }
            }
            out.extend_from_slice(json.to_string().as_bytes());
            out.push(b'\n');
        } else {
            let page = show::Page {
                probe,
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

/// The arguments: words, or one JSON object.
fn words(arguments: &[String]) -> Result<Probe, Failure> {
    let text = arguments.join(" ");
    read_words(&text).map_err(|error| Failure::input(error.to_string(), EXAMPLE))
}

/// One packet a line; empty lines are passed by.
fn many(path: &Path) -> Result<Vec<Probe>, Failure> {
    let text = input::read(path)?;
    let lines = text.split(|byte| *byte == b'\n').zip(1_u64..);
    let filled = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    filled
        .map(|(line, number)| {
            Probe::from_json(line).map_err(|error| {
                let what = format!("{}: line {number}: {error}", input::name(path));
                Failure::input(
                    what,
                    "each line is one packet, a JSON object as in the manual",
                )
            })
        })
        .collect()
}

/// Packets whose routes are asked for at a time.
const AT_A_TIME: usize = 256;

/// The packets on the ways that their destinations tell, where nobody said which. Of a dump's box nothing is known.
fn on_their_way(mut probes: Vec<Probe>, links: &Machine) -> Vec<Probe> {
    for part in probes.chunks_mut(AT_A_TIME) {
        let mut turned: Vec<&mut Probe> = Vec::new();
        for probe in part {
            let path = probe.path;
            *probe = settle(probe, links);
            if probe.path != path {
                turned.push(probe);
            }
        }
        let asked: HashSet<RouteQuestion> = turned.iter().flat_map(|probe| gaps(probe)).collect();
        let asked: Vec<RouteQuestion> = asked.into_iter().collect();
        let mut machine = links.clone();
        machine.routes = host::routes(&asked, links);
        for probe in turned {
            probe.output = complete(probe, &machine).output;
        }
    }
    probes
}

/// The packet as this box sends it on, with the way of its answers, and what the rules say of it. `asked` is it as it
/// was written.
fn on_the_box(
    side: &Side<'_>,
    asked: Option<&Probe>,
    probe: &Probe,
    facts: &Facts,
    links: &Machine,
) -> (Probe, Explanation) {
    let mut machine = links.clone();
    let mut ask = |asked: &[RouteQuestion], machine: &Machine| host::routes(asked, machine);
    let probe = with_way_back(probe, &mut machine, &mut ask);
    let explanation = side.explain(&probe, facts);
    let asked = asked.unwrap_or(&probe);
    // A DNAT sends it on: only now is it known where to.
    match sent_on(asked, &probe, &explanation, &mut machine, &mut ask) {
        Some(through) => {
            let explanation = side.explain(&through, facts);
            (through, explanation)
        }
        None => (probe, explanation),
    }
}

/// What is known of the box: of this one its addresses and its clock, of a dump's only what is said.
fn facts(explain: &Explain, document: &Document, links: &Machine) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    if let Some(path) = &explain.sets {
        facts.sets = sets::read(&input::read(path)?);
    } else if explain.file.is_none() {
        let dumps = document.rulesets().iter().map(Ruleset::bytes);
        facts.sets = sets::read(&sets_for(dumps));
    }
    if !explain.local.is_empty() {
        facts.local = Some(explain.local.clone());
    } else if explain.file.is_none() {
        facts.local = links.addresses();
        facts.first = Facts::first_addresses(links.interfaces.as_deref().unwrap_or_default());
        facts.broadcast = links.broadcasts();
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
fn beside(
    probe: &Probe,
    explanation: &Explanation,
    links: &Machine,
    native: &[BaseChain],
) -> Vec<Cause> {
    let asked = questions(probe, explanation, links);
    elsewhere(probe, explanation, &host::machine(&asked), native)
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
