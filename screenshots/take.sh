#!/usr/bin/env bash
# Takes the pictures in this folder: the real program in a real terminal emulator.
#
#   screenshots/take.sh              all of them
#   screenshots/take.sh NAME…        those whose name starts so
#
# An xterm on an X server of its own (Xvfb) runs `ruletop demo`, gets its keys as a keyboard would
# send them, and its window is saved. Nothing is drawn by hand and nothing is retouched. Each picture
# is one line of `pictures` below. RULETOP names the binary (target/release/ruletop).
#
# What it starts it ends, by process id.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ruletop=$(realpath "${RULETOP:-$here/../target/release/ruletop}")
out=${OUT:-$here}
wanted=("$@")

say() { printf 'take: %s\n' "$*" >&2; }

# take NAME COLUMNSxROWS 'KEYS' COMMAND…
#
# KEYS are X key names, `type:TEXT` for text, and `wait:SECONDS`: traffic needs time to flow, and no
# window tells when its picture is worth taking.
pictures() {
    take board-120x36 120x36 'wait:8' "$ruletop" demo drop-before-accept
    take board-80x24 80x24 'wait:8' "$ruletop" demo default-drop-no-service
    take board-200x50 200x50 'wait:10' "$ruletop" demo busy-box
    take conntrack-full-120x36 120x36 'wait:10' "$ruletop" demo conntrack-full
    take docker-beside-ufw-120x36 120x36 'wait:8' "$ruletop" demo docker-beside-ufw
    # The cursor starts on the rule that drops the most.
    take why-120x36 120x36 'wait:6 w wait:4' "$ruletop" demo drop-before-accept
    take review-120x36 120x36 'wait:6 g j j j j j j j j K K K A wait:5' "$ruletop" demo drop-before-accept
    take pending-120x36 120x36 'wait:6 g j j j j j j j j K K K A wait:4 y wait:4' "$ruletop" demo drop-before-accept
    take editor-120x36 120x36 'wait:6 g j j j j j j j j e wait:3' "$ruletop" demo drop-before-accept
}

# The palette: a dark ground, sixteen quiet colours, an alarm that is one.
look=(
    -fa 'DejaVu Sans Mono' -fs 12 -b 14 -bw 0
    -bg '#11151c' -fg '#c8ccd4' -tn xterm-256color +sb -bc -cr '#11151c'
    -xrm '*Xft.antialias: true' -xrm '*Xft.hinting: true' -xrm '*Xft.hintstyle: hintslight' -xrm '*Xft.rgba: none'
    -xrm '*color0: #1c222c' -xrm '*color8: #5c6675'
    -xrm '*color1: #e8546b' -xrm '*color9: #ff6b81'
    -xrm '*color2: #7fbf7f' -xrm '*color10: #98d598'
    -xrm '*color3: #e0b060' -xrm '*color11: #f5cd7d'
    -xrm '*color4: #6aa3e8' -xrm '*color12: #8bbcf5'
    -xrm '*color5: #c08ae0' -xrm '*color13: #d5a8ef'
    -xrm '*color6: #56b8c2' -xrm '*color14: #7ad3dc'
    -xrm '*color7: #c8ccd4' -xrm '*color15: #f2f4f8'
    -xrm '*boldColors: false' -xrm '*allowBoldFonts: true' -xrm '*cursorBlink: false'
)

started=()
end_all() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    started=()
}

start_display() {
    local number
    exec {report}<> <(:)
    Xvfb -displayfd "$report" -screen 0 3200x1800x24 -nolisten tcp >/dev/null 2>&1 &
    x_server=$!
    read -r -t 30 number <&"$report" || { say 'the X server did not start'; exit 1; }
    exec {report}>&-
    export DISPLAY=:$number
}

press() {
    local word
    for word in $1; do
        case $word in
            wait:*) sleep "${word#wait:}" ;;
            type:*) xdotool type --delay 40 "${word#type:}" ;;
            *) xdotool key --delay 40 "$word" ;;
        esac
    done
}

take() {
    local name=$1 geometry=$2 keys=$3 window xterm prefix
    shift 3
    if ((${#wanted[@]})); then
        for prefix in "${wanted[@]}"; do [[ $name == "$prefix"* ]] && break; done
        [[ $name == "$prefix"* ]] || return 0
    fi
    say "$name ($geometry): $*"
    env -u NO_COLOR COLORTERM=truecolor xterm "${look[@]}" -title "$name" -geometry "$geometry+0+0" -e "$@" &
    xterm=$!
    started+=("$xterm")
    window=$(timeout 30 xdotool search --sync --onlyvisible --pid "$xterm" | tail -n 1)
    [[ -n $window ]] || { say "$name: no window"; return 1; }
    # Without a window manager nobody gives the focus.
    xdotool windowfocus --sync "$window" mousemove 3100 1700
    press "$keys"
    kill -0 "$xterm" 2>/dev/null || { say "$name: the program ended before its picture was taken"; return 1; }
    # A hundred colours are more than a terminal of sixteen needs for its soft edges.
    import -window "$window" +dither -colors 128 -strip -define png:compression-level=9 "PNG8:$out/$name.png"
    end_all
}

end_display() {
    [[ -n ${x_server:-} ]] || return 0
    kill "$x_server" 2>/dev/null || true
    wait "$x_server" 2>/dev/null || true
}

trap 'end_all; end_display' EXIT
[[ -x $ruletop ]] || { say "$ruletop is not built: make screenshots"; exit 1; }
mkdir -p "$out"
start_display
pictures
