//! Change events: they name the process, tell the family, and traffic makes none.

use ruletop::netfilter::events::{ChainName, Changes, Listener, Touch};
use ruletop::netfilter::netlink::{Netlink, Request};
use ruletop::netfilter::nftables::generation;
use ruletop::ruleset::Family;

use crate::support::{LEGACY4, NFT4, NFT6, in_namespace, send_udp, wait_for};

/// Everything that one command changed.
fn changes(listener: &mut Listener) -> Changes {
    wait_for("a change", || {
        let changes = listener.drain().expect("events can be read");
        changes.author.is_some().then_some(changes)
    })
}

fn chain(name: &str) -> Touch {
    Touch::Chains(
        [ChainName {
            table: b"filter".to_vec(),
            chain: name.as_bytes().to_vec(),
        }]
        .into(),
    )
}

#[test]
fn an_edit_names_its_process_and_its_family() {
    in_namespace(|net| {
        let mut listener = Listener::open().unwrap();
        net.tables(NFT4, "-A INPUT -j ACCEPT");
        let first = changes(&mut listener);
        let author = first.author.clone().unwrap();
        assert_eq!(author.name, "iptables-nft");
        assert_eq!((first.v4, first.v6), (chain("INPUT"), Touch::Nothing));

        let pid = net.ok("echo $$; exec ip6tables-nft -A INPUT -j ACCEPT");
        let second = changes(&mut listener);
        let author = second.author.clone().unwrap();
        assert_eq!(author.pid, pid.trim().parse::<u32>().unwrap());
        assert_eq!(*second.touch(Family::V4), Touch::Nothing);
        assert_eq!(*second.touch(Family::V6), chain("INPUT"));
        assert!(!second.missed);

        net.tables(NFT6, "-A INPUT -j DROP");
        assert_eq!(changes(&mut listener).v6, chain("INPUT"));
        net.tables(NFT6, "-N web");
        assert_eq!(changes(&mut listener).v6, chain("web"));
        net.ok("nft delete table ip6 filter");
        assert_eq!(changes(&mut listener).v6, Touch::Everything);
        assert!(listener.drain().unwrap().is_empty());
    });
}

#[test]
fn a_process_that_is_still_there_is_described() {
    in_namespace(|net| {
        let mut listener = Listener::open().unwrap();
        // The writer waits for its input to end, so it lives while it is looked at.
        let script = "(echo 'add table ip mine'; sleep 30) | nft -i & echo $! > pid; wait";
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let mut shell = net.spawn(&script.replace("> pid", &format!("> {}", pid_file.display())));
        let change = changes(&mut listener);
        let author = change.author.clone().unwrap();
        let listed = std::fs::read_to_string(&pid_file).unwrap_or_default();
        shell.end();
        assert_eq!(author.name, "nft");
        assert_eq!(author.pid.to_string(), listed.trim());
        assert_eq!(author.cmdline.as_deref(), Some("nft -i"));
        assert!(author.parent.is_some());
        assert!(change.native);
        assert_eq!(change.v4, Touch::Nothing, "not a table of iptables");
    });
}

#[test]
fn every_edit_raises_the_generation_and_traffic_does_not() {
    in_namespace(|net| {
        net.tables(NFT4, "-A INPUT -p udp --dport 9 -j ACCEPT");
        let mut listener = Listener::open().unwrap();
        let mut netlink = Netlink::open().unwrap();
        let mut request = Request::default();
        let mut last = generation(&mut netlink, &mut request).unwrap();
        for edit in [
            "-A INPUT -j ACCEPT",
            "-I INPUT 1 -j ACCEPT",
            "-R INPUT 1 -j DROP",
            "-D INPUT 1",
            "-N web",
            "-E web web2",
            "-X web2",
            "-P FORWARD DROP",
            "-F",
        ] {
            net.tables(NFT4, edit);
            let now = generation(&mut netlink, &mut request).unwrap();
            assert_ne!(now, last, "{edit}");
            let change = changes(&mut listener);
            assert_eq!(change.author.as_ref().unwrap().generation, now, "{edit}");
            assert_ne!(change.v4, Touch::Nothing, "{edit}");
            last = now;
        }
        send_udp(Family::V4, 9, 5, 10);
        net.tables(LEGACY4, "-A INPUT -j ACCEPT");
        assert_eq!(generation(&mut netlink, &mut request).unwrap(), last);
        assert!(listener.drain().unwrap().is_empty());
    });
}

#[test]
fn a_large_restore_keeps_its_author_and_says_what_was_missed() {
    in_namespace(|net| {
        let mut listener = Listener::open().unwrap();
        let rules: Vec<String> = (0..20_000)
            .map(|n| format!("-A INPUT -p tcp --dport {} -j ACCEPT", n % 60_000 + 1))
            .collect();
        net.restore_in_pieces(NFT4, "filter", &rules);
        let change = changes(&mut listener);
        assert!(change.missed, "20,000 rules do not fit in a socket buffer");
        assert_eq!(
            (change.v4, change.v6),
            (Touch::Everything, Touch::Everything)
        );
        let author = change.author.unwrap();
        assert_eq!(author.name, "iptables-nft-re", "at most 15 bytes of a name");
        assert!(
            listener.drain().unwrap().is_empty(),
            "and then all is quiet"
        );
    });
}
