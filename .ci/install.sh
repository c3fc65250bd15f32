#!/usr/bin/env bash
# Puts the program, its man page and its completions under a prefix.
#
#   .ci/install.sh BINARY PREFIX        PREFIX may start with a packager's DESTDIR
#   .ci/install.sh --remove PREFIX
set -euo pipefail

say() { printf 'install: %s\n' "$*" >&2; }

prefix=${2:?usage: .ci/install.sh BINARY|--remove PREFIX}
bash_completion=$prefix/share/bash-completion/completions/ruletop
zsh_completion=$prefix/share/zsh/site-functions/_ruletop
fish_completion=$prefix/share/fish/vendor_completions.d/ruletop.fish

# Root only where the prefix asks for it.
sudo=()
there=$prefix
until [[ -e $there ]]; do there=$(dirname "$there"); done
if [[ ! -w $there ]]; then
    command -v sudo >/dev/null \
        || { say "$there is not yours to write and there is no sudo: run as root, or choose PREFIX=~/.local"; exit 1; }
    sudo=(sudo)
fi

if [[ $1 == --remove ]]; then
    "${sudo[@]}" rm -f "$prefix"/bin/ruletop "$prefix"/share/man/man[18]/ruletop.[18] \
        "$bash_completion" "$zsh_completion" "$fish_completion"
    exit
fi

binary=$1
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$binary" man >"$made/man"
for shell in bash zsh fish; do "$binary" completions "$shell" >"$made/$shell"; done
section=$(awk '$1 == ".TH" { print $3; exit }' "$made/man")

place() { "${sudo[@]}" install -D -m "$1" "$2" "$3" && say "$3"; }
place 755 "$binary" "$prefix/bin/ruletop"
place 644 "$made/man" "$prefix/share/man/man$section/ruletop.$section"
place 644 "$made/bash" "$bash_completion"
place 644 "$made/zsh" "$zsh_completion"
place 644 "$made/fish" "$fish_completion"
