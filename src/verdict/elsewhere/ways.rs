//! The ways of a packet: there, back, what the reverse path filter makes of the difference, and whether
//! this box passes packets on at all.

use std::net::IpAddr;

use super::{About, Finder, Grade};
use crate::flow::{IfName, RouteAnswer, Way, WayKind};
use crate::verdict::{Path, opens};

impl Finder<'_> {
    /// The way there, the way back, and what the reverse path filter makes of it.
    pub(super) fn routes(&mut self) {
        let asked = self.packet.way_question();
        let there = asked.and_then(|question| self.machine.route(&question).cloned());
        let asked = self.packet.back_question();
        let back = asked.and_then(|question| self.machine.route(&question).cloned());
        let filtered = self.rp_filter(there.as_ref(), back.as_ref());
        self.first_way();
        if let (Some(dst), Some(answer)) = (self.packet.dst, &there)
            && !filtered
        {
            self.way_there(dst, answer);
        }
        if let (Some(src), Some(answer)) = (self.packet.probe.src, &back)
            && !filtered
        {
            match answer {
                // Which mark an answer will have nobody says.
                RouteAnswer::Way(way) if leads(way) && self.machine.routes_by_mark => self.say(
                    About::RouteBack,
                    Grade::Note,
                    format!("route back{} for an answer without a mark", by(way)),
                    BY_MARK,
                ),
                RouteAnswer::Way(way) if leads(way) => {
                    let by = by(way);
                    self.say(About::RouteBack, Grade::Fine, format!("route back{by}"), "");
                }
                RouteAnswer::Way(way) => self.say(
                    About::RouteBack,
                    self.unless_marked(None),
                    format!("no way back to {src}"),
                    format!("the route to it is {}", sort(way.kind)),
                ),
                RouteAnswer::None { words, .. } => self.say(
                    About::RouteBack,
                    self.unless_marked(None),
                    format!("no route back to {src}"),
                    format!("ip route get {src}: {words}"),
                ),
                RouteAnswer::NotAsked(_) => {}
            }
        }
    }

    /// What a missing way weighs: another mark may have one.
    fn unless_marked(&self, mark: Option<u32>) -> Grade {
        if self.machine.routes_by_mark && mark.is_none() {
            Grade::Doubt
        } else {
            Grade::Blocks
        }
    }

    /// The way of a packet of this box before rules of OUTPUT change it.
    fn first_way(&mut self) {
        let Some(asked) = self.packet.first_question() else {
            return;
        };
        let grade = self.unless_marked(self.packet.probe.mark);
        let says = format!("there is no way to {} before rules of OUTPUT", asked.to);
        match self.machine.route(&asked).cloned() {
            Some(RouteAnswer::Way(way)) if !leads(&way) => {
                let evidence = format!("the route to it is {}", sort(way.kind));
                self.say(About::Route, grade, says, evidence);
            }
            Some(RouteAnswer::None { words, .. }) => {
                let evidence = format!("ip route get {}: {words}", asked.to);
                self.say(About::Route, grade, says, evidence);
            }
            _ => {}
        }
    }

    fn way_there(&mut self, dst: IpAddr, answer: &RouteAnswer) {
        match answer {
            RouteAnswer::Way(way) if leads(way) => {
                let by = by(way);
                let (grade, on) = match (self.machine.routes_by_mark, self.packet.mark) {
                    (false, _) => (Grade::Fine, String::new()),
                    (true, Some(mark)) => (Grade::Note, format!(", taken as {mark:#x}")),
                    (true, None) => (Grade::Doubt, ", which is not known".to_owned()),
                };
                // To ourselves there is no more to say.
                let onward = self.packet.path != Path::Input;
                if onward && grade == Grade::Fine {
                    self.say(About::Route, grade, format!("route to {dst}{by}"), "");
                } else if onward {
                    let says = format!("route to {dst}{by} depends on the mark{on}");
                    self.say(About::Route, grade, says, BY_MARK);
                }
                self.other_way(dst, way);
            }
            RouteAnswer::Way(way) => self.say(
                About::Route,
                self.unless_marked(self.packet.mark),
                format!("{dst} has no way"),
                format!("the route to it is {}", sort(way.kind)),
            ),
            // That it does not forward is what it says then, and has a line of its own.
            RouteAnswer::None { .. }
                if self.packet.path == Path::Forward && self.forwards() == Some(false) => {}
            RouteAnswer::None { words, .. } if self.packet.path == Path::Input => self.say(
                About::Route,
                Grade::Blocks,
                "routing refuses this packet before any rule of INPUT",
                format!(
                    "ip route get from {} iif: {words}",
                    text(self.packet.probe.src)
                ),
            ),
            RouteAnswer::None { words, .. } => self.say(
                About::Route,
                self.unless_marked(self.packet.mark),
                format!("no route to {dst}"),
                format!("ip route get {dst}{}: {words}", marked(self.packet.mark)),
            ),
            RouteAnswer::NotAsked(_) => {}
        }
    }

    /// The packet is said to leave by one interface, and the route is by another.
    fn other_way(&mut self, dst: IpAddr, way: &Way) {
        if let (Some(said), Some(real)) = (self.packet.probe.output, way.output)
            && self.packet.path != Path::Input
            && said != real
        {
            self.say(
                About::Route,
                Grade::Doubt,
                format!("packets to {dst} leave by {real}, not by {said}"),
                format!("ip route get {dst}: dev {real}"),
            );
        }
    }

    /// IPv4 alone has it in routing. True when it is what refuses the packet.
    fn rp_filter(&mut self, there: Option<&RouteAnswer>, back: Option<&RouteAnswer>) -> bool {
        let probe = self.packet.probe;
        let input = probe
            .input
            .filter(|_| probe.path != Path::Output && !self.packet.v6());
        let interface = input.and_then(|name| self.machine.interface(name));
        let own = interface.and_then(|interface| interface.rp_filter);
        let (Some(input), Some(own)) = (input, own) else {
            return false;
        };
        let mode = own.max(self.machine.sysctls.rp_filter_all.unwrap_or(0));
        let switch = format!("net.ipv4.conf.{input}.rp_filter (or all) = {mode}");
        if mode == 0 {
            self.say(About::RpFilter, Grade::Fine, "rp_filter off", switch);
            return false;
        }
        let refused = matches!(there, Some(RouteAnswer::None { .. }));
        let silent = if self.machine.sysctls.log_martians == Some(true) {
            ""
        } else {
            "; log_martians is off, so nothing is logged"
        };
        let src = text(probe.src);
        match back {
            _ if !refused => {
                if matches!(there, Some(RouteAnswer::Way(_))) {
                    self.say(About::RpFilter, Grade::Fine, "rp_filter", switch);
                }
                return false;
            }
            Some(RouteAnswer::Way(way)) if mode == 1 && way.output != Some(input) => self.say(
                About::RpFilter,
                Grade::Blocks,
                format!("rp_filter drops it: the way back to {src} is not by {input}"),
                format!("{switch}, ip route get {src}: {}{silent}", dev(way)),
            ),
            Some(RouteAnswer::None { words, .. }) => self.say(
                About::RpFilter,
                Grade::Blocks,
                format!("rp_filter drops it: there is no way back to {src}"),
                format!("{switch}, ip route get {src}: {words}{silent}"),
            ),
            _ => return false,
        }
        true
    }

    /// `None` where it is not known, or the packet is not to be forwarded.
    fn forwards(&self) -> Option<bool> {
        let interface = self
            .packet
            .probe
            .input
            .and_then(|name| self.machine.interface(name));
        if self.packet.v6() {
            // net/ipv6/ip6_output.c, ip6_forward: the switch of all interfaces decides.
            return self.machine.sysctls.forward_v6;
        }
        let own = interface.and_then(|interface| interface.forwards_v4);
        own.or(self.machine.sysctls.forward_v4)
    }

    /// The interface that answers come in by, where it takes no packets for others: IPv4 has a switch for each.
    fn answers_stay(&self) -> Option<IfName> {
        let asked = self.packet.way_question();
        let way = asked.and_then(|question| match self.machine.route(&question)? {
            RouteAnswer::Way(way) => way.output,
            _ => None,
        });
        let output = way.or(self.packet.probe.output)?;
        let asks = !self.packet.v6() && opens(self.packet.probe);
        let interface = self.machine.interface(output).filter(|_| asks)?;
        (interface.forwards_v4 == Some(false)).then_some(output)
    }

    pub(super) fn forwarding(&mut self) {
        if self.packet.path != Path::Forward {
            return;
        }
        let Some(on) = self.forwards() else { return };
        let name = match (self.packet.v6(), self.packet.probe.input) {
            (true, _) => "net.ipv6.conf.all.forwarding".to_owned(),
            (false, Some(input)) => format!("net.ipv4.conf.{input}.forwarding"),
            (false, None) => "net.ipv4.ip_forward".to_owned(),
        };
        let back = self.answers_stay();
        if let (true, Some(output)) = (on, back) {
            self.say(
                About::Forwarding,
                Grade::Blocks,
                "this box does not forward the answers",
                format!("net.ipv4.conf.{output}.forwarding = 0"),
            );
        } else if on {
            let says = if self.packet.v6() {
                "forwarding"
            } else {
                "ip_forward"
            };
            self.say(About::Forwarding, Grade::Fine, says, format!("{name} = 1"));
        } else {
            self.say(
                About::Forwarding,
                Grade::Blocks,
                "this box does not forward packets",
                format!("{name} = 0"),
            );
        }
    }
}

/// Evidence that the way depends on the mark.
const BY_MARK: &str = "ip rule: a rule asks for fwmark";

/// ` mark 0x5`, as ip(8) is asked with it.
fn marked(mark: Option<u32>) -> String {
    let mark = mark.filter(|mark| *mark != 0);
    mark.map_or_else(String::new, |mark| format!(" mark {mark:#x}"))
}

/// The packet gets somewhere by it.
fn leads(way: &Way) -> bool {
    !matches!(
        way.kind,
        WayKind::Blackhole | WayKind::Unreachable | WayKind::Prohibit
    )
}

fn sort(kind: WayKind) -> &'static str {
    match kind {
        WayKind::Blackhole => "a blackhole",
        WayKind::Prohibit => "prohibited",
        _ => "unreachable",
    }
}

/// ` by eth0`.
fn by(way: &Way) -> String {
    way.output
        .map_or_else(String::new, |name| format!(" by {name}"))
}

fn dev(way: &Way) -> String {
    way.output
        .map_or_else(|| "no interface".to_owned(), |name| format!("dev {name}"))
}

fn text(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "it".to_owned(), |address| address.to_string())
}
