//! Base chains that iptables does not show.

use ruletop::netfilter::native::{base_chains, is_shown_by_iptables};
use ruletop::netfilter::netlink::Netlink;
use ruletop::ruleset::{BaseChain, NftFamily};

use crate::support::{NFT4, NFT6, in_namespace, wait_for};

fn chains() -> Vec<BaseChain> {
    base_chains(&mut Netlink::open().unwrap()).unwrap()
}

#[test]
fn every_family_and_hook_is_listed() {
    in_namespace(|net| {
        net.ok("nft -f - <<'END'
table inet fw {
    chain in {
        type filter hook input priority 10; policy drop;
        ct state established accept
        accept
    }
    chain helper {
        accept
    }
    chain pre {
        type filter hook prerouting priority raw
    }
}
table netdev early {
    chain lo {
        type filter hook ingress device lo priority -5
        drop
    }
}
table bridge br {
    chain across {
        type filter hook forward priority 0; policy drop;
    }
}
table arp a {
    chain out {
        type filter hook output priority 0
    }
}
table ip nat {
    chain mine {
        type nat hook postrouting priority 99
    }
}
table inet asleep {
    flags dormant
    chain c {
        type filter hook output priority 0
    }
}
END");
        let found = chains();
        let brief: Vec<String> = found
            .iter()
            .map(|c| {
                format!(
                    "{} {} {} {} {} {} {} {}",
                    c.family,
                    c.table,
                    c.chain,
                    c.kind,
                    c.hook,
                    c.priority,
                    c.drops_by_default,
                    c.rules
                )
            })
            .collect();
        assert_eq!(
            brief,
            [
                "inet asleep c filter output 0 false 0",
                "inet fw in filter input 10 true 2",
                "inet fw pre filter prerouting -300 false 0",
                "ip nat mine nat postrouting 99 false 0",
                "arp a out filter output 0 false 0",
                "bridge br across filter forward 0 true 0",
                "netdev early lo filter ingress -5 false 1",
            ]
        );
        assert!(found[0].dormant && !found[1].dormant);
        assert_eq!(found[6].devices, ["lo"]);
        assert!(found.iter().all(|chain| !is_shown_by_iptables(chain)));
    });
}

#[test]
fn chains_of_iptables_are_told_from_foreign_ones() {
    in_namespace(|net| {
        for origin in [NFT4, NFT6] {
            for table in ["filter", "nat", "mangle", "raw", "security"] {
                net.tables(origin, &format!("-t {table} -A OUTPUT -j ACCEPT"));
                net.tables(origin, &format!("-t {table} -N web"));
            }
            net.tables(origin, "-t nat -A INPUT -j ACCEPT");
            net.tables(origin, "-t mangle -A POSTROUTING -j ACCEPT");
        }
        let found = chains();
        assert_eq!(found.len(), 14);
        let foreign: Vec<_> = found.iter().filter(|c| !is_shown_by_iptables(c)).collect();
        assert_eq!(foreign, [&found[0]; 0]);
        net.ok("nft add chain ip filter INPUT '{ type filter hook input priority 7; }'");
        let foreign: Vec<_> = chains()
            .into_iter()
            .filter(|c| !is_shown_by_iptables(c))
            .collect();
        assert_eq!(foreign.len(), 1);
        assert_eq!(foreign[0].priority, 7);
    });
}

#[test]
fn a_table_with_an_owner_names_it() {
    in_namespace(|net| {
        let mut owner = net.spawn(
            "(echo 'add table inet fw { flags owner; }'; \
              echo 'add chain inet fw in { type filter hook input priority 0; }'; sleep 30) | nft -i",
        );
        let chain = wait_for("the owned table", || chains().pop());
        owner.end();
        assert_eq!(chain.family, NftFamily::Inet);
        let named = chain.owner.expect("an owner");
        assert_eq!(named.name.as_deref(), Some("nft"));
        wait_for("the table to go with its owner", || {
            chains().is_empty().then_some(())
        });
    });
}
