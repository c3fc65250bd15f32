use super::*;
use crate::flow::{
    IfName, Interface, Listener, Manager, Process, Protocol, RouteAnswer, Sysctls, Way, WayKind,
};
use crate::ruleset::{Document, Hints, NftFamily};
use crate::verdict::{Facts, Program, read_words};

fn name(text: &str) -> IfName {
    IfName::new(text.as_bytes()).unwrap()
}

fn interface(text: &str, index: u32, address: &str) -> Interface {
    Interface {
        name: name(text),
        index,
        up: true,
        carrier: true,
        loopback: text == "lo",
        port_of: None,
        bridge: false,
        addresses: vec![address.parse().unwrap()],
        broadcasts: Vec::new(),
        rp_filter: Some(0),
        forwards_v4: Some(true),
        forwards_v6: Some(true),
    }
}

fn listener(address: &str, port: u16) -> Listener {
    Listener {
        proto: Protocol::TCP,
        address: address.parse().unwrap(),
        port,
        only_v6: None,
        interface: None,
        peer: None,
        process: Some(Process {
            pid: 812,
            name: "nginx".to_owned(),
        }),
    }
}

fn way(kind: WayKind, output: &str) -> RouteAnswer {
    RouteAnswer::Way(Way {
        kind,
        output: Some(name(output)),
        gateway: None,
        table: 254,
    })
}

fn lost(words: &str) -> RouteAnswer {
    RouteAnswer::None {
        errno: 101,
        words: words.to_owned(),
    }
}

/// A box that is in order: eth0 to the world, eth1 within, a web server.
fn sound() -> Machine {
    Machine {
        interfaces: Some(vec![
            interface("lo", 1, "127.0.0.1/8"),
            interface("eth0", 2, "10.0.0.5/24"),
            interface("eth1", 3, "192.168.0.1/24"),
        ]),
        listeners: Some(vec![listener("0.0.0.0", 443)]),
        sysctls: Sysctls {
            forward_v4: Some(true),
            forward_v6: Some(false),
            rp_filter_all: Some(0),
            conntrack_count: Some(100),
            conntrack_max: Some(1_000),
            ..Sysctls::default()
        },
        ..Machine::default()
    }
}

/// The answers that a box in order gives: by eth0 to the world, by eth1 within, local to itself.
fn answers(machine: &Machine, asked: &[RouteQuestion]) -> Vec<(RouteQuestion, RouteAnswer)> {
    let own = machine.addresses().unwrap_or_default();
    let answer = |question: &RouteQuestion| {
        if own.contains(&question.to) {
            way(WayKind::Local, "lo")
        } else if question.to.to_string().starts_with("192.168.") {
            way(WayKind::Unicast, "eth1")
        } else {
            way(WayKind::Unicast, "eth0")
        }
    };
    asked.iter().map(|one| (one.clone(), answer(one))).collect()
}

const RULES: &[u8] = b"*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.168.0.7:80\n-A PREROUTING -p tcp --dport 8443 -j REDIRECT --to-ports 443\nCOMMIT\n";

/// The causes of a packet in words, after `change` was done to the box and its answers.
fn ask(words: &str, change: impl FnOnce(&mut Machine)) -> Vec<Cause> {
    ask_beside(words, &[], change)
}

fn ask_beside(words: &str, natives: &[BaseChain], change: impl FnOnce(&mut Machine)) -> Vec<Cause> {
    let probe = read_words(words).unwrap();
    let document = Document::parse(RULES.to_vec(), Hints::default()).unwrap();
    let rulesets: Vec<_> = document.rulesets().iter().collect();
    let program = Program::compile_beside(probe.family, &rulesets, natives);
    let mut machine = sound();
    let local = machine.addresses();
    let facts = Facts {
        local: local.clone(),
        ..Facts::default()
    };
    let explanation = program.explain(&probe, &facts, &rulesets);
    let asked = questions(&probe, &explanation, &machine);
    machine.routes = answers(&machine, &asked);
    change(&mut machine);
    elsewhere(&probe, &explanation, &machine, natives)
}

fn said(causes: &[Cause], grade: Grade) -> Vec<&str> {
    let of = causes.iter().filter(|cause| cause.grade == grade);
    of.map(|cause| cause.says.as_str()).collect()
}

/// The causes that block are these.
fn blocked(words: &str, expected: &[&str], change: impl FnOnce(&mut Machine)) {
    let causes = ask(words, change);
    assert_eq!(
        said(&causes, Grade::Blocks),
        expected,
        "{words}: {causes:#?}"
    );
}

const WEB: &str = "tcp 203.0.113.9 -> 10.0.0.5:443 in eth0";

#[test]
fn a_box_in_order_gets_ticks() {
    let causes = ask(WEB, |_| {});
    assert!(
        causes.iter().all(|cause| cause.grade == Grade::Fine),
        "{causes:#?}"
    );
    let fine = said(&causes, Grade::Fine);
    for tick in [
        "nginx listens on 0.0.0.0:443",
        "eth0 up",
        "10.0.0.5 is an address of this box (eth0)",
        "route back by eth0",
        "rp_filter off",
        "conntrack 10 %",
    ] {
        assert!(fine.contains(&tick), "{tick} in {fine:?}");
    }
}

#[test]
fn nobody_listens_or_only_elsewhere() {
    let on = |all: Vec<Listener>| move |machine: &mut Machine| machine.listeners = Some(all);
    blocked(WEB, &["nobody listens on 443/tcp"], on(Vec::new()));
    blocked(
        WEB,
        &["nginx listens on 127.0.0.1:443 only"],
        on(vec![listener("127.0.0.1", 443), listener("0.0.0.0", 80)]),
    );
    blocked(
        WEB,
        &["nginx listens on 0.0.0.0:443 on eth1 only"],
        on(vec![Listener {
            interface: Some(3),
            ..listener("0.0.0.0", 443)
        }]),
    );
    let only_v6 = Listener {
        only_v6: Some(true),
        ..listener("::", 443)
    };
    blocked(WEB, &["nginx listens on [::]:443 only"], on(vec![only_v6]));
    let dual = Listener {
        only_v6: Some(false),
        ..listener("::", 443)
    };
    blocked(WEB, &[], on(vec![dual]));
    // One of several that takes it is enough; what is not known is no cause.
    blocked(
        WEB,
        &[],
        on(vec![listener("127.0.0.1", 443), listener("10.0.0.5", 443)]),
    );
    blocked(WEB, &[], |machine| machine.listeners = None);
    // A packet of a standing connection has its socket; a ping needs none; one that is forwarded neither.
    blocked(&format!("{WEB} established"), &[], on(Vec::new()));
    blocked("ping 203.0.113.9 -> 10.0.0.5 in eth0", &[], on(Vec::new()));
    blocked(
        "tcp 203.0.113.9 -> 192.168.0.7:443 in eth0 out eth1",
        &[],
        on(Vec::new()),
    );
    // Where no address is said, any address of the box is meant.
    blocked("tcp -> :443", &[], on(vec![listener("127.0.0.1", 443)]));
}

#[test]
fn what_nat_makes_of_the_packet_is_what_counts() {
    blocked("tcp 203.0.113.9 -> 10.0.0.5:8443 in eth0", &[], |_| {});
    blocked(
        "tcp 203.0.113.9 -> 10.0.0.5:8080 in eth0",
        &["this box does not forward packets"],
        |machine| {
            for interface in machine.interfaces.iter_mut().flatten() {
                interface.forwards_v4 = Some(false);
            }
        },
    );
    let causes = ask("tcp 203.0.113.9 -> 10.0.0.5:8080 in eth0", |_| {});
    let fine = said(&causes, Grade::Fine);
    assert!(fine.contains(&"route to 192.168.0.7 by eth1"), "{fine:?}");
}

#[test]
fn interfaces_and_addresses() {
    blocked(
        "tcp 203.0.113.9 -> :443 in eth9",
        &["there is no interface eth9"],
        |_| {},
    );
    let down = |machine: &mut Machine| {
        for interface in machine.interfaces.iter_mut().flatten() {
            interface.up = interface.name != name("eth0");
        }
    };
    blocked(WEB, &["eth0 is down"], down);
    let unplugged = |machine: &mut Machine| {
        for interface in machine.interfaces.iter_mut().flatten() {
            interface.carrier = interface.name != name("eth0");
        }
    };
    blocked(WEB, &["eth0 has no carrier"], unplugged);
    blocked(
        "tcp 203.0.113.9 -> 10.0.0.77:443 in eth0",
        &["10.0.0.77 is no address of this box"],
        |_| {},
    );
    let causes = ask("tcp 203.0.113.9 -> 10.0.0.5:443 in eth0 out eth1", |_| {});
    assert_eq!(
        said(&causes, Grade::Doubt),
        ["10.0.0.5 is an address of this box"]
    );
    // A broadcast is nobody's own address.
    blocked(
        "udp 10.0.0.9 -> 255.255.255.255:67 in eth0",
        &["nobody listens on 67/udp"],
        |_| {},
    );
}

#[test]
fn routes_there_and_back() {
    let all = |answer: RouteAnswer| {
        move |machine: &mut Machine| {
            for (_, known) in &mut machine.routes {
                *known = answer.clone();
            }
        }
    };
    blocked(
        "tcp -> 8.8.8.8:53 out eth0",
        &["no route to 8.8.8.8"],
        all(lost("Network is unreachable")),
    );
    blocked(
        "tcp -> 8.8.8.8:53 out eth0",
        &["8.8.8.8 has no way"],
        all(way(WayKind::Blackhole, "lo")),
    );
    let back_only = |machine: &mut Machine| {
        for (question, known) in &mut machine.routes {
            if question.input.is_none() {
                *known = lost("Network is unreachable");
            }
        }
    };
    blocked(WEB, &["no route back to 203.0.113.9"], back_only);
    blocked(
        WEB,
        &["routing refuses this packet before any rule of INPUT"],
        |machine| {
            machine.routes[0].1 = lost("Invalid argument");
        },
    );
    let causes = ask("tcp 192.168.0.7 -> 8.8.8.8:53 in eth1 out eth9", |_| {});
    assert!(
        said(&causes, Grade::Doubt).contains(&"packets to 8.8.8.8 leave by eth0, not by eth9"),
        "{causes:#?}"
    );
}

#[test]
fn the_reverse_path_filter_is_what_the_kernel_says_it_is() {
    let mode = |own: u8, refused: bool, back: RouteAnswer| {
        move |machine: &mut Machine| {
            for interface in machine.interfaces.iter_mut().flatten() {
                interface.rp_filter = Some(own);
            }
            for (question, known) in &mut machine.routes {
                if question.input.is_none() {
                    *known = back.clone();
                } else if refused {
                    *known = lost("Invalid cross-device link");
                }
            }
        }
    };
    let elsewhere = way(WayKind::Unicast, "eth1");
    let words = ["rp_filter drops it: the way back to 203.0.113.9 is not by eth0"];
    blocked(WEB, &words, mode(1, true, elsewhere.clone()));
    // The kernel takes it all the same (a second way that we did not see): then it does.
    blocked(WEB, &[], mode(1, false, elsewhere.clone()));
    // Loose asks for any way back.
    blocked(WEB, &[], mode(2, false, elsewhere.clone()));
    let none = lost("Network is unreachable");
    blocked(
        WEB,
        &["rp_filter drops it: there is no way back to 203.0.113.9"],
        mode(2, true, none),
    );
    // `all` counts where it is greater, and IPv6 has none.
    let by_all = |machine: &mut Machine| {
        machine.sysctls.rp_filter_all = Some(1);
        machine.routes[0].1 = lost("Invalid cross-device link");
        machine.routes[1].1 = way(WayKind::Unicast, "eth1");
    };
    blocked(WEB, &words, by_all);
}

#[test]
fn forwarding_the_table_and_the_bridge() {
    let forward = "tcp 203.0.113.9 -> 192.168.0.7:80 in eth0 out eth1";
    blocked(forward, &["this box does not forward packets"], |machine| {
        for interface in machine.interfaces.iter_mut().flatten() {
            interface.forwards_v4 = Some(false);
        }
    });
    blocked(
        "tcp 2001:db8::9 -> 2001:db8:1::7:80 in eth0 out eth1",
        &["this box does not forward packets"],
        |_| {},
    );
    let full = |machine: &mut Machine| machine.sysctls.conntrack_count = Some(1_000);
    blocked(
        WEB,
        &["the connection table is full: new connections are dropped"],
        full,
    );
    blocked(&format!("{WEB} established"), &[], full);
    let nearly = ask(WEB, |machine| machine.sysctls.conntrack_count = Some(930));
    assert_eq!(said(&nearly, Grade::Doubt), ["conntrack 93 % full"]);
    blocked(WEB, &[], |machine| {
        machine.sysctls.conntrack_count = Some(u64::MAX);
        machine.sysctls.conntrack_max = Some(0);
    });
    let bridged = ask(forward, |machine| {
        let interfaces = machine.interfaces.as_mut().unwrap();
        interfaces.push(Interface {
            bridge: true,
            ..interface("br0", 9, "192.168.9.1/24")
        });
        for interface in interfaces.iter_mut().filter(|one| one.index < 9) {
            interface.port_of = Some(9);
        }
        machine.sysctls.bridge_v4 = Some(true);
    });
    let notes = said(&bridged, Grade::Note);
    assert_eq!(notes, ["frames that br0 switches meet these chains too"]);
}

#[test]
fn chains_that_iptables_does_not_show_and_other_managers() {
    let chain = BaseChain {
        family: NftFamily::Inet,
        table: "firewalld".to_owned(),
        chain: "filter_INPUT".to_owned(),
        kind: "filter".to_owned(),
        hook: "input",
        priority: 10,
        drops_by_default: false,
        devices: Vec::new(),
        rules: 4,
        read: None,
        owner: None,
        dormant: false,
    };
    let causes = ask_beside(WEB, std::slice::from_ref(&chain), |machine| {
        machine.managers.push(Manager {
            name: "firewalld",
            seen: "process 12".to_owned(),
            habit: "it has a table of its own",
        });
        machine.problems.push("no sockets: why".to_owned());
    });
    let doubts = said(&causes, Grade::Doubt);
    assert_eq!(
        doubts,
        ["the nft chain inet firewalld filter_INPUT may drop it"]
    );
    let notes = said(&causes, Grade::Note);
    assert_eq!(
        notes,
        ["firewalld is at work", "not everything could be read"]
    );
    let drops = BaseChain {
        rules: 0,
        read: None,
        drops_by_default: true,
        ..chain.clone()
    };
    let causes = ask_beside(WEB, &[drops], |_| {});
    let blocks = said(&causes, Grade::Blocks);
    assert_eq!(
        blocks,
        ["the nft chain inet firewalld filter_INPUT drops it"]
    );
    // Neither another hook, nor a dormant table, nor an empty chain, nor another device.
    for other in [
        BaseChain {
            hook: "forward",
            ..chain.clone()
        },
        BaseChain {
            dormant: true,
            ..chain.clone()
        },
        BaseChain {
            rules: 0,
            read: None,
            ..chain.clone()
        },
        BaseChain {
            family: NftFamily::Ip6,
            ..chain.clone()
        },
        BaseChain {
            kind: "nat".to_owned(),
            ..chain.clone()
        },
        BaseChain {
            hook: "ingress",
            devices: vec!["eth1".to_owned()],
            ..chain.clone()
        },
    ] {
        let causes = ask_beside(WEB, std::slice::from_ref(&other), |_| {});
        assert_eq!(said(&causes, Grade::Doubt), Vec::<&str>::new(), "{other:?}");
    }
}

/// The kernel has a broadcast route to the last address of a network, whatever the address came with, and
/// answers no broadcast with an error.
#[test]
fn a_broadcast_is_for_this_box_and_nobody_is_told() {
    let causes = ask("udp 10.0.0.9 -> 10.0.0.255:9 in eth0", |_| {});
    let fine = said(&causes, Grade::Fine);
    assert!(
        fine.contains(&"10.0.0.255 is the broadcast address of a network of this box"),
        "{causes:#?}"
    );
    let nobody = causes
        .iter()
        .find(|cause| cause.says == "nobody listens on 9/udp");
    assert!(
        nobody
            .unwrap()
            .evidence
            .contains("the client is told nothing"),
        "{causes:#?}"
    );
    blocked(
        "udp 10.0.0.9 -> 10.0.0.5:9 in eth0",
        &["nobody listens on 9/udp"],
        |_| {},
    );
}
