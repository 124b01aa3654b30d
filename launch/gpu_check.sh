#!/bin/sh
# Does this machine do the work, and how fast? `sh launch/gpu_check.sh [OUTPUT.json]`
# At most eight minutes on one CUDA device. On a CPU the same at tiny shapes.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x $python ] || python=python3
PYTHONPATH=. exec $python benchmarks/gpu_check.py ${1:+--output "$1"}
