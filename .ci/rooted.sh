#!/usr/bin/env bash
# Runs a command as root of something: whoever may make network namespaces (root) simply runs it;
# anybody else runs it in private user, network and mount namespaces in which the caller is root, with
# its own /run (where the lock of iptables-legacy lies) and its own loopback. Where neither can be had
# (an ordinary user without user namespaces, a container's powerless root) it fails and says why.
#
#   .ci/rooted.sh COMMAND [ARGUMENT…]
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

if ((EUID == 0)) && unshare --net --mount true 2>/dev/null; then
    # The guards of the tests are to make no scopes in this machine's systemd; one test boots its own.
    if [[ -d /run/systemd/system ]]; then
        exec unshare --mount sh -c 'mount -t tmpfs tmpfs /run/systemd && exec "$@"' sh "$@"
    fi
    exec "$@"
fi

# Two steps: the kernel takes the owner of /proc/net/ip_tables_names from the user namespace's map when
# the network namespace is made, and in one step there is no map yet (it would stay the host's root).
private=(unshare --user --map-root-user unshare --net --mount)
# Ubuntu lets the namespace be made and then refuses what root is needed for, so try that too.
enter='mount -t tmpfs tmpfs /run && ip link set lo up'
if ! reason=$("${private[@]}" sh -c "$enter" 2>&1); then
    cat >&2 <<MESSAGE
rooted: this needs root, or a user namespace in which an ordinary user is root. Refused: $reason
rooted: run it as root (of a container: with CAP_SYS_ADMIN and CAP_NET_ADMIN), or allow user namespaces:
rooted:   sysctl user.max_user_namespaces kernel.unprivileged_userns_clone   should not be 0
rooted:   sysctl kernel.apparmor_restrict_unprivileged_userns                should not be 1 (Ubuntu)
MESSAGE
    exit 3
fi
exec "${private[@]}" sh -c "$enter && exec \"\$@\"" sh "$@"
