#!/bin/sh
# Machines without a scheduler: `sh launch/ray_start.sh` on the first, then on each other one
# `sh launch/ray_start.sh FIRST_ADDRESS`. `ray stop` on a machine takes it out of the cluster again.
set -eu
port=6379
if [ $# = 0 ]; then
    ray start --head --port=$port --disable-usage-stats
    echo "On this machine: dualipo run RECIPE workers.engine=ray workers.address=auto"
else
    ray start --address="$1:$port" --disable-usage-stats
fi
