#!/usr/bin/env bash
# Runs every test, and holds the suite to its promise: the firewall of the namespace that it was
# started in is the same afterwards. The runner's own summary is the last thing printed, unless that
# promise was broken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Rules, policies and sysctls of here, without what moves by itself (counters, dates).
fingerprint() {
    local save
    for save in iptables-nft-save ip6tables-nft-save iptables-legacy-save ip6tables-legacy-save; do
        echo "$save"
        "$save" 2>/dev/null | sed -e '/^#/d' -e 's/ \[[0-9]*:[0-9]*\]$//' || true
    done
    nft --stateless list ruleset 2>/dev/null || true
    cat /proc/sys/net/netfilter/nf_{log_all_netns,conntrack_max} /proc/sys/net/ipv4/ip_forward 2>/dev/null || true
}

# Built as the caller and with the network; run as root of something and without it.
cargo test --no-run
((EUID == 0)) && before=$(fingerprint)
verdict=0
.ci/rooted.sh cargo test --offline --no-fail-fast || verdict=$?
if ((EUID == 0)) && [[ $(fingerprint) != "$before" ]]; then
    echo 'test: the firewall or a sysctl of this namespace changed while the tests ran:' >&2
    diff <(cat <<<"$before") <(fingerprint) >&2 || true
    verdict=1
fi
exit "$verdict"
