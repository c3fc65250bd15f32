//! `ruletop explain` on live boxes that are broken in ways that no rule shows.

use std::net::TcpListener;

use crate::support::{Net, in_namespace};

/// eth0 to the world (its other end is `world`), eth1 within; both up.
const LINKS: &str = "ip link add eth0 type veth peer name world && ip link add eth1 type veth peer name within \
    && for link in eth0 world eth1 within; do ip link set $link up; done \
    && ip addr add 10.0.0.5/24 dev eth0 && ip addr add 192.168.0.1/24 dev eth1 \
    && ip addr add fd00::5/64 dev eth0 nodad && ip route add default via 10.0.0.1 \
    && sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0";

fn ask(net: &Net, words: &str) -> serde_json::Value {
    let program = env!("CARGO_BIN_EXE_ruletop");
    let output = net.run(&format!("{program} explain --json '{words}'"));
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let json: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words}: {text}{error}"));
    let code = output.status.code().unwrap();
    let accepted = json["verdict"] == "accept" && blocks(&json).is_empty();
    assert_eq!(code, i32::from(!accepted), "{json:#}");
    json
}

/// What of the box blocks.
fn blocks(json: &serde_json::Value) -> Vec<String> {
    let causes = json["elsewhere"].as_array().unwrap().iter();
    let blocking = causes.filter(|cause| cause["grade"] == "blocks");
    blocking
        .map(|cause| cause["says"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_thing_that_is_broken_is_named_and_mended() {
    in_namespace(|net| {
        net.ok(LINKS);
        let web = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = web.local_addr().unwrap().port();
        let to = |port: u16| format!("tcp 203.0.113.9 -> 10.0.0.5:{port} in eth0");
        let words = to(port);
        let expect = |words: &str, expected: &[&str]| {
            let json = ask(net, words);
            assert_eq!(blocks(&json), expected, "{words}: {json:#}");
        };
        // Only on loopback, then nowhere, then everywhere.
        let json = ask(net, &words);
        assert!(blocks(&json)[0].ends_with(&format!("listens on 127.0.0.1:{port} only")));
        drop(web);
        expect(&words, &[&format!("nobody listens on {port}/tcp")]);
        let web = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let words = to(web.local_addr().unwrap().port());
        expect(&words, &[]);

        net.ok("sysctl -qw net.ipv4.conf.eth1.rp_filter=1");
        let inner = words.replace("eth0", "eth1");
        expect(
            &inner,
            &["rp_filter drops it: the way back to 203.0.113.9 is not by eth1"],
        );
        net.ok("sysctl -qw net.ipv4.conf.eth1.rp_filter=2");
        expect(&inner, &[]);
        net.ok("ip route del default");
        expect(
            &inner,
            &["rp_filter drops it: there is no way back to 203.0.113.9"],
        );
        expect(&words, &["no route back to 203.0.113.9"]);
        net.ok("ip route add default via 10.0.0.1");

        expect(
            "tcp 10.0.0.9 -> 10.0.0.77:80 in eth0",
            &["this box does not forward packets"],
        );
        expect(
            "tcp 10.0.0.9 -> 10.0.0.77:80 in eth0 input",
            &[
                "10.0.0.77 is no address of this box",
                "this box does not forward packets",
            ],
        );
        expect(
            "tcp 10.0.0.9 -> :80 in eth7",
            &["there is no interface eth7", "nobody listens on 80/tcp"],
        );
        let through = "tcp 203.0.113.9 -> 192.168.0.7:80 in eth0 out eth1";
        expect(through, &["this box does not forward packets"]);
        net.ok("sysctl -qw net.ipv4.ip_forward=1");
        expect(through, &[]);
        expect("udp 10.0.0.5 -> 8.8.8.8:53 out eth0", &[]);
        net.ok("ip route add unreachable 8.8.8.8");
        expect(
            "udp 10.0.0.5 -> 8.8.8.8:53 out eth0",
            &["no route to 8.8.8.8"],
        );

        let six = TcpListener::bind("[::]:0").unwrap();
        let port = six.local_addr().unwrap().port();
        expect(
            &format!("tcp 2001:db8::9 -> [fd00::5]:{port} in eth0"),
            &["no route back to 2001:db8::9"],
        );
        expect(&format!("tcp fd00::9 -> [fd00::5]:{port} in eth0"), &[]);
        expect(&to(port), &[]);

        net.ok("nft 'add table inet other { chain in { type filter hook input priority 20; policy drop; }; }'");
        let json = ask(net, &words);
        assert_eq!(json["verdict"], "drop", "{json:#}");
        assert_eq!(blocks(&json), ["the nft chain inet other in drops it"]);
        net.ok("ip link set eth0 down");
        assert!(blocks(&ask(net, &words)).contains(&"eth0 is down".to_owned()));
    });
}

#[test]
fn words_and_a_dump_say_what_they_can() {
    in_namespace(|net| {
        net.ok(LINKS);
        let program = env!("CARGO_BIN_EXE_ruletop");
        let output = net.run(&format!(
            "{program} explain tcp 203.0.113.9 '->' 10.0.0.5:9 in eth0"
        ));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in [
            "verdict ACCEPT",
            "box          BLOCKS: nobody listens on 9/tcp",
            "box          fine: eth0 up",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        // A dump has no box around it.
        let output = net.run(&format!(
            "printf '*filter\\nCOMMIT\\n' | {program} explain --file - --json tcp"
        ));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(json.get("elsewhere").is_none(), "{json:#}");
    });
}
