#!/usr/bin/env bash
# Makes report.png and report-channels.png, the pictures of the bundled network in the README. To be run again when that network changes.
# Needs Chromium; CONVSCOPE is the binary (default: target/release/convscope).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
convscope=$(realpath "${CONVSCOPE:-$here/../../target/release/convscope}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Parts of the page: what the rules hide is not on the picture.
part() { # name, width, height, rules
  local style="<style>footer, nav, .lead { display: none } section { margin-top: 28px } h2 { margin-bottom: 14px } $4</style>"
  { cat convscope-out/report.html; echo "$style"; } > "$1.html"
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" --virtual-time-budget=8000 \
    --force-device-scale-factor=0.65 --window-size="$2,$3" --screenshot="$here/$1.png" "file://$work/$1.html" 2> /dev/null
}
"$convscope" report > /dev/null
part report 1060 1140 "section:not(#prediction, #heat), dl div:not(.wide) { display: none }"
"$convscope" report --channels 3 > /dev/null
part report-channels 1160 890 "header, section:not(#channels), .stage:nth-of-type(-n+2), .scale { display: none } body { padding-top: 0 }"
ls -l "$here"/report*.png
