#!/bin/sh
# Makes .venv and installs dualipo into it: `sh launch/install.sh [dev]`, from any folder.
# Does nothing when neither the requirements nor the folder's place has changed since.
set -eu
cd "$(dirname "$0")/.."
extra=${1:-}
stamp=.venv/installed${extra:+-$extra}
wanted=$( { pwd; cat pyproject.toml constraints.txt; } | cksum)
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
echo "Installing dualipo into .venv (once, a few minutes) ..." >&2
[ -x .venv/bin/pip ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".${extra:+[$extra]}"
echo "$wanted" >"$stamp"
