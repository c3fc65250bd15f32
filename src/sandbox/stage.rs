//! Building the sandbox, inside the helpers' init, which stands in the box's network namespace.
//!
//! Order matters in three points: the outside thread exists before a cable can lead to it, services are
//! bound before clients call, and rules are loaded while links are made (two programs that know nothing
//! of each other, so they run side by side). A step that fails ends it: the UI process is told which
//! step and what was said, in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::actors::{self, Pending, PlaceThread, Tally};
use super::error::Step;
use super::rules;
use super::scenario::{Link, Place, Probe, Scenario};
use super::tools::{Tools, run};
use super::wire::{Event, Line, Plan, ProbeAnswer, ProbeQuestion, TrafficAnswer, TrafficQuestion};

/// A step that failed, and what was said.
type Failed = (Step, String);

/// A sandbox that stands.
struct Stage {
    places: BTreeMap<Place, PlaceThread>,
    tallies: Vec<(String, Arc<Tally>)>,
}

/// Build what the plan says, then answer until the other side is gone.
pub fn serve(mut control: Line, traffic: Line) -> io::Result<()> {
    let Some(plan) = control.receive::<Plan>()? else {
        return Ok(());
    };
    // A connection takes two descriptors here, one at each end; the usual soft limit of 1,024 is soon spent.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let mut notes = Vec::new();
    let stage = match build(&plan, &mut control, &mut notes) {
        Ok(stage) => stage,
        Err((step, detail)) => return control.send(&Event::Failed { step, detail }),
    };
    control.send(&Event::Ready { notes })?;
    let Stage { places, tallies } = stage;
    // Detached: the end of the process ends it.
    thread::spawn(move || answer_traffic(traffic, &tallies));
    while let Some(probes) = control.receive::<ProbeQuestion>()? {
        control.send(&try_flows(&places, &probes))?;
    }
    Ok(())
}

/// Start them all, then wait for each.
fn try_flows(places: &BTreeMap<Place, PlaceThread>, probes: &[Probe]) -> ProbeAnswer {
    let started: Result<Vec<_>, String> = probes
        .iter()
        .map(|probe| match places.get(&probe.at) {
            Some(place) => place.probe(probe),
            None => Err(format!("this scenario has nothing {:?}", probe.at).to_lowercase()),
        })
        .collect();
    started?.into_iter().map(Pending::wait).collect()
}

fn answer_traffic(mut traffic: Line, tallies: &[(String, Arc<Tally>)]) {
    while let Ok(Some(TrafficQuestion)) = traffic.receive() {
        let answer: TrafficAnswer = tallies
            .iter()
            .map(|(name, tally)| tally.read(name))
            .collect();
        if traffic.send(&answer).is_err() {
            return;
        }
    }
}

fn build(plan: &Plan, control: &mut Line, notes: &mut Vec<String>) -> Result<Stage, Failed> {
    let Plan {
        scenario, tools, ..
    } = plan;
    let at = |step| move |said| (step, said);
    // A failed send means that the UI is gone; then nothing more is to be built.
    let mut begin = |step| {
        let sent = control.send(&Event::Progress(step));
        sent.map_err(|error| (step, error.to_string()))
    };

    begin(Step::Settings)?;
    settle(plan.ipv6)
        .and_then(|()| set_sysctls(&scenario.sysctls))
        .map_err(at(Step::Settings))?;

    begin(Step::Network)?;
    let loading = {
        let (scenario, tools, log) = (scenario.clone(), tools.clone(), plan.log);
        thread::spawn(move || load_rules(&scenario, &tools, log))
    };
    let places = lay_cables(scenario, tools, plan.ipv6).map_err(at(Step::Network))?;

    begin(Step::Firewall)?;
    loading
        .join()
        .unwrap_or_else(|_| Err("thread ended early".to_owned()))
        .map_err(at(Step::Firewall))?;

    begin(Step::Services)?;
    for (place, thread) in &places {
        let mine = scenario.listeners.iter().filter(|one| one.at == *place);
        thread
            .listen(mine.cloned().collect(), plan.ipv6)
            .map_err(at(Step::Services))?;
    }

    begin(Step::Clients)?;
    let mut tallies = Vec::new();
    for client in &scenario.clients {
        let tally = Arc::new(Tally::default());
        if let Some(place) = places.get(&client.at) {
            place.call(client.clone(), Arc::clone(&tally));
        }
        tallies.push((client.name.clone(), tally));
    }
    fill_conntrack(scenario, notes);
    Ok(Stage { places, tallies })
}

/// What every place needs, in the calling thread's namespace: sockets for ping (icmp(7)); no forwarding
/// unless the scenario says so, since a new namespace takes IPv4's settings over from the machine; and
/// link-local addresses that are usable at once. Without the last, neighbours are not even asked for
/// during the first two seconds, while the kernel looks for duplicates.
fn settle(ipv6: bool) -> Result<(), String> {
    let mut sysctls = vec![
        ("net.ipv4.ping_group_range", "0 0"),
        ("net.ipv4.ip_forward", "0"),
    ];
    if ipv6 {
        sysctls.push(("net.ipv6.conf.all.disable_ipv6", "0"));
        sysctls.push(("net.ipv6.conf.default.disable_ipv6", "0"));
        sysctls.push(("net.ipv6.conf.default.accept_dad", "0"));
    }
    set_sysctls(sysctls)
}

fn set_sysctls<N: AsRef<str>, V: AsRef<str>>(
    sysctls: impl IntoIterator<Item = (N, V)>,
) -> Result<(), String> {
    for (name, value) in sysctls {
        let path = format!("/proc/sys/{}", name.as_ref().replace('.', "/"));
        fs::write(&path, value.as_ref()).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn load_rules(scenario: &Scenario, tools: &Tools, log: super::LogTarget) -> Result<(), String> {
    if let Some(ipset) = &tools.ipset {
        let mut input = String::new();
        for set in &scenario.sets {
            let _ = writeln!(input, "create {} {}", set.name, set.kind);
            for member in &set.members {
                let _ = writeln!(input, "add {} {member}", set.name);
            }
        }
        run(ipset, &["restore"], &input)?;
    }
    // -w: another program in the box may hold the lock; nft's variants take the option and need it not.
    for (program, text) in [
        (&tools.restore_v4, &scenario.firewall.v4),
        (&tools.restore_v6, &scenario.firewall.v6),
    ] {
        if !text.trim().is_empty() {
            run(program, &["-w", "5"], &rules::with_log_target(text, log))?;
        }
    }
    Ok(())
}

/// Make the places and the links to them.
fn lay_cables(
    scenario: &Scenario,
    tools: &Tools,
    ipv6: bool,
) -> Result<BTreeMap<Place, PlaceThread>, String> {
    let mut places = BTreeMap::new();
    for place in [Place::Outside, Place::Behind] {
        let links: Vec<Link> = scenario
            .links
            .iter()
            .filter(|link| link.to == place)
            .cloned()
            .collect();
        if links.is_empty() {
            continue;
        }
        let (scenario, ip) = (scenario.clone(), tools.ip.clone());
        let thread = PlaceThread::start(place, move || {
            settle(ipv6)?;
            run(&ip, &["-batch", "-"], &far_side(place, &links, &scenario))
        })?;
        places.insert(place, thread);
    }
    run(&tools.ip, &["-batch", "-"], &box_side(scenario))?;
    let thread = PlaceThread::start(Place::Box, || Ok(()))?;
    places.insert(Place::Box, thread);
    Ok(places)
}

/// `ip -batch` for the other end of a place's links. The near end is born in the namespace of pid 1: us.
///
/// Networks `beyond` the end are local to it as a whole, so any address of them can call and answer.
/// Addresses skip duplicate address detection, which would keep IPv6 silent for a second.
fn far_side(place: Place, links: &[Link], scenario: &Scenario) -> String {
    let mut batch = String::from("link set lo up\n");
    let mut line = |text: String| batch.push_str(&(text + "\n"));
    for (number, link) in links.iter().enumerate() {
        let far = format!("{place:?}{number}").to_lowercase();
        line(format!(
            "link add {far} type veth peer name {} netns 1",
            link.name
        ));
        for address in &link.peer {
            line(format!("addr add {address} dev {far}{}", no_dad(address)));
        }
        line(format!("link set {far} up"));
        for net in &link.beyond {
            line(format!("route add local {net} dev lo"));
        }
    }
    for address in scenario
        .listeners
        .iter()
        .filter(|one| one.at == place)
        .flat_map(|one| &one.addresses)
    {
        let address = IpNet::from(*address);
        line(format!("addr replace {address} dev lo{}", no_dad(&address)));
    }
    if let Some(link) = links.first() {
        for gateway in &link.addresses {
            line(default_route(gateway.addr()));
        }
    }
    batch
}

/// `ip -batch` for the box.
fn box_side(scenario: &Scenario) -> String {
    let mut batch = String::from("link set lo up\n");
    let mut line = |text: String| batch.push_str(&(text + "\n"));
    let mut bridges: Vec<&str> = Vec::new();
    let mut default = false;
    for link in &scenario.links {
        let port = &link.name;
        if let Some(bridge) = link.bridge.as_deref() {
            if !bridges.contains(&bridge) {
                line(format!("link add {bridge} type bridge"));
                bridges.push(bridge);
            }
            line(format!("link set {port} master {bridge} up"));
        }
        let near = link.interface();
        for address in &link.addresses {
            line(format!(
                "addr replace {address} dev {near}{}",
                no_dad(address)
            ));
        }
        line(format!("link set {near} up"));
        let gateways = link.peer.iter().map(IpNet::addr);
        if link.to == Place::Outside && !default {
            gateways.for_each(|gateway| line(default_route(gateway)));
            default = true;
        } else {
            for (net, gateway) in link.beyond.iter().flat_map(|net| {
                let peer = link.peer.iter().map(IpNet::addr);
                peer.filter(|peer| peer.is_ipv4() == net.addr().is_ipv4())
                    .take(1)
                    .map(move |peer| (net, peer))
            }) {
                line(format!("route add {net} via {gateway}"));
            }
        }
    }
    batch
}

fn default_route(gateway: IpAddr) -> String {
    let any = if gateway.is_ipv4() {
        "0.0.0.0/0"
    } else {
        "::/0"
    };
    format!("route replace {any} via {gateway}")
}

fn no_dad(address: &IpNet) -> &'static str {
    if address.addr().is_ipv6() {
        " nodad"
    } else {
        ""
    }
}

fn fill_conntrack(scenario: &Scenario, notes: &mut Vec<String>) {
    let Some(fill) = scenario.conntrack.clone() else {
        return;
    };
    match actors::fill_allowed() {
        Ok(max) => {
            notes.push(format!(
                "the conntrack table is filled with {max} made-up entries: {} MB of kernel memory while it lasts, and \"table full\" in the machine's log",
                max * actors::ENTRY_BYTES / 1_000_000,
            ));
            thread::spawn(move || actors::keep_full(&fill, max));
        }
        Err(why) => notes.push(why),
    }
}
