#!/usr/bin/env bash
# Installs what building, showing and testing ruletop need and this machine lacks.
#
#   .ci/setup.sh build|demo|test|screenshots
#
# Looks for commands, not for packages: where everything is there, no package manager is called and
# nothing is asked. Packages are installed without their recommendations. None of them starts a
# service or switches a firewall on, and nothing that runs is restarted.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# level  command          apt               dnf               zypper
#
# A level takes in those named before it (build, demo, test); screenshots takes in demo.
# `wanted` in the first column: the level works without it, but less well, so its lack is a warning.
needs='
build    cc               gcc+libc6-dev     gcc+glibc-devel   gcc+glibc-devel
demo     ip               iproute2          iproute           iproute2
demo     unshare          util-linux        util-linux        util-linux
demo     iptables         iptables          iptables-nft      iptables
demo     ip6tables        iptables          iptables-nft      iptables
demo     iptables-save    iptables          iptables-nft      iptables
wanted   nft              nftables          nftables          nftables
wanted   conntrack        conntrack         conntrack-tools   conntrack-tools
wanted   ipset            ipset             ipset             ipset
test     iptables-nft     iptables          iptables-nft      iptables-backend-nft
test     iptables-legacy  iptables          iptables-legacy   iptables
test     nft              nftables          nftables          nftables
test     conntrack        conntrack         conntrack-tools   conntrack-tools
test     ipset            ipset             ipset             ipset
test     tmux             tmux              tmux              tmux
test     systemd-run      systemd           systemd           systemd
test     nsenter          util-linux        util-linux        util-linux
test     setpriv          util-linux        util-linux        util-linux
screenshots xterm         xterm             xterm             xterm
screenshots Xvfb          xvfb              xorg-x11-server-Xvfb xorg-x11-server-Xvfb
screenshots xdotool       xdotool           xdotool           xdotool
screenshots import        imagemagick       ImageMagick       ImageMagick
screenshots font:DejaVuSansMono fonts-dejavu-core dejavu-sans-mono-fonts dejavu-fonts
'

# An ordinary user's PATH often lacks the folders that firewall tools live in.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

case ${1:-} in
    build) levels='build' ;;
    demo) levels='build demo wanted' ;;
    test) levels='build demo test' ;;
    screenshots) levels='build demo wanted screenshots' ;;
    *) fail 'usage: .ci/setup.sh build|demo|test|screenshots' ;;
esac

have() {
    case $1 in
        font:*) compgen -G "/usr/share/fonts/**/${1#font:}.ttf" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}
shopt -s globstar

# Rows of the chosen levels whose command is not there.
lacking() {
    local level command apt dnf zypper
    while read -r level command apt dnf zypper; do
        [[ -n $level && " $levels " == *" $level "* ]] || continue
        have "$command" || printf '%s %s %s %s %s\n' "$level" "$command" "$apt" "$dnf" "$zypper"
    done <<<"$needs"
}

# The packages of one column of the rows on standard input, each once.
packages() { awk -v column="$1" '{ print $column }' | tr '+' '\n' | sort -u; }

find_rust() {
    [[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null \
        || fail 'Rust is missing: install it from https://rustup.rs, open a new shell, and try again'
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(rustc --version | awk '{ print $2 }')
    [[ $(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n 1) == "$wanted" ]] \
        || fail "Rust $have is too old, $wanted or newer is needed: run 'rustup update'"
}

# Runs its arguments as root.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "installing needs root and there is no sudo. As root: $*"
    fi
}

# One package manager call for all; where a name is unknown to this release, one call each, so that
# one missing package does not take the others with it.
install_all() {
    as_root "$@" "${missing[@]}" && return
    say 'not all at once; trying one at a time'
    local package
    for package in "${missing[@]}"; do
        as_root "$@" "$package" || say "$package could not be installed"
    done
}

install_missing() {
    local rows=$1 missing
    if command -v apt-get >/dev/null; then
        mapfile -t missing < <(packages 3 <<<"$rows")
        say "installing by apt: ${missing[*]}"
        # A source that does not answer is no reason to stop: the packages may come from another.
        as_root apt-get -qq update || say 'apt-get update failed in part; going on'
        install_all env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
            apt-get -qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 --no-install-recommends install
    elif command -v dnf >/dev/null; then
        mapfile -t missing < <(packages 4 <<<"$rows")
        say "installing by dnf: ${missing[*]}"
        install_all dnf -q -y --setopt=install_weak_deps=False install
    elif command -v zypper >/dev/null; then
        mapfile -t missing < <(packages 5 <<<"$rows")
        say "installing by zypper: ${missing[*]}"
        install_all zypper -q -n install --no-recommends
    else
        say "no apt, dnf or zypper here; install by hand what provides: $(awk '{ print $2 }' <<<"$rows" | xargs)"
    fi
    hash -r
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
find_rust
rows=$(lacking)
[[ -z $rows ]] && exit 0
install_missing "$rows"

verdict=0
while read -r level command _; do
    if [[ -z $level ]]; then
        continue
    elif [[ $level == wanted ]]; then
        say "going on without $command: what it shows will be missing"
    else
        say "$command is still missing and make ${1} needs it"
        verdict=1
    fi
done <<<"$(lacking)"
exit "$verdict"
