//! The rules of now, saved for the next boot: on both back ends and families, below a private root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Output;

use ruletop::ruleset::{Backend, Family, Origin, Ruleset};

use crate::bench::{Bench, on, on_every};

const NFT4: Origin = Origin::new(Family::V4, Backend::Nft);

/// The file of this bench's family, Debian's way.
fn file(bench: &Bench<'_>) -> PathBuf {
    let name = match bench.origin.family {
        Family::V4 => "rules.v4",
        Family::V6 => "rules.v6",
    };
    PathBuf::from(bench.path("root/etc/iptables")).join(name)
}

fn keep(bench: &Bench<'_>, arguments: &[&str]) -> Output {
    let root = bench.path("root");
    let mut all = vec!["keep", "--root", &root];
    all.extend(arguments);
    bench.ruletop(&all)
}

#[track_caller]
fn expect(output: &Output, code: i32) -> (String, String) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn prepare(bench: &Bench<'_>, saved: &str) {
    let file = file(bench);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, saved).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
}

#[test]
fn what_is_live_is_written_and_the_old_file_kept() {
    on_every(|bench| {
        let tool = bench.origin.to_string();
        bench.net.ok(&format!(
            "{tool} -A INPUT -m comment --comment 'ruletop-probe:7' -j RETURN; \
             {tool} -N f2b-sshd; {tool} -A INPUT -p tcp -j f2b-sshd; {tool} -A f2b-sshd -j RETURN"
        ));
        let before = bench.save();
        let old = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n";
        prepare(bench, old);

        let (shown, _) = expect(&keep(bench, &["--diff"]), 1);
        assert!(
            shown.contains("filter INPUT - 1: -p udp -j DROP"),
            "{shown}"
        );
        assert!(shown.contains("left out: 1 probes"), "{shown}");
        assert_eq!(fs::read_to_string(file(bench)).unwrap(), old);

        let (_, said) = expect(&keep(bench, &[]), 2);
        assert!(said.contains("no terminal"), "{said}");
        expect(&keep(bench, &["--without-runtime", "--yes"]), 0);
        let text = fs::read_to_string(file(bench)).unwrap();
        assert!(
            !text.contains("f2b") && !text.contains("ruletop-probe"),
            "{text}"
        );

        expect(&keep(bench, &["--yes"]), 0);
        let kept = fs::read(file(bench)).unwrap();
        let saved = Ruleset::parse(kept.clone(), bench.origin).unwrap();
        assert!(!saved.rules_are_counted());
        assert_eq!(
            saved.rule_count(),
            before.rule_count() - 1,
            "all but the probe"
        );
        assert_eq!(fs::metadata(file(bench)).unwrap().mode() & 0o777, 0o640);
        let beside = PathBuf::from(format!("{}.ruletop-old", file(bench).display()));
        assert_eq!(
            fs::read_to_string(&beside).unwrap(),
            text,
            "the one before it"
        );

        let (_, said) = expect(&keep(bench, &["--yes"]), 0);
        assert!(said.contains("nothing to write"), "{said}");
        assert_eq!(
            fs::read_dir(file(bench).parent().unwrap()).unwrap().count(),
            2
        );
        bench.assert_same(&before);
    });
}

#[test]
fn counters_go_where_the_old_file_had_some() {
    on(NFT4, |bench| {
        prepare(
            bench,
            "*filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT -j DROP\nCOMMIT\n",
        );
        expect(&keep(bench, &["--yes", "--family", "4"]), 0);
        let saved = Ruleset::parse(fs::read(file(bench)).unwrap(), NFT4).unwrap();
        assert!(saved.rules_are_counted());
        let live = bench.save();
        assert_eq!(saved.saved_counters().rules, live.saved_counters().rules);
    });
}

#[test]
fn refused_with_the_reason_and_nothing_written() {
    on(NFT4, |bench| {
        let old = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let unchanged = || assert_eq!(fs::read_to_string(file(bench)).unwrap(), old);
        let refused = |words: &str| {
            let (_, said) = expect(&keep(bench, &["--yes"]), 4);
            assert!(said.contains(words), "{said}");
            assert_eq!(said.lines().count(), 2, "{said}");
        };
        fs::create_dir_all(bench.path("root/etc/ufw")).unwrap();
        refused("nothing on this machine loads saved rules");
        prepare(bench, old);
        fs::write(bench.path("root/etc/ufw/ufw.conf"), "ENABLED=yes\n").unwrap();
        refused("ufw is in charge");
        fs::write(bench.path("root/etc/ufw/ufw.conf"), "ENABLED=no\n").unwrap();

        let output = bench.start_change("60s").wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        refused("a change is pending");
        bench.ok(&["revert"]);
        bench.settle();

        bench
            .net
            .ok("nft add rule ip filter INPUT ip saddr { 192.0.2.1, 192.0.2.2 } drop");
        refused("locked");
        unchanged();
        bench.net.ok("iptables-nft -F INPUT");
        bench.net.ok("iptables-legacy -A INPUT -j ACCEPT");
        let (_, said) = expect(&keep(bench, &["--yes"]), 2);
        assert!(said.contains("both back ends"), "{said}");
        unchanged();
        expect(
            &keep(bench, &["--yes", "--backend", "legacy", "--family", "4"]),
            0,
        );
        assert!(
            fs::read_to_string(file(bench))
                .unwrap()
                .contains("-A INPUT -j ACCEPT")
        );
    });
}
