#!/bin/bash
# The figures of `edgeguard run` that need an idle machine (2 cores or more), in about 25 minutes:
#
#     bash benchmarks/idle.sh mobilenet_v2_1.0_224_quant.tflite
#
# Wanted of the table, ratios to the bare undefended loop over 9 interleaved rounds:
#
#     run:none      frames at least 0.95, CPU at most 1.10
#     run:fd        frames at least 0.95, CPU at most 1.10
#     run:fd-jpeg   frames at least 1.40, CPU at most 0.90
#
# and of the ages at 30 frames/s: p95 below the bound that stands beside it.
set -euo pipefail
export OMP_NUM_THREADS=2
uptime
python "$(dirname "$0")/run.py" "$1" --threads 2 --rounds 9 --seconds 8
uptime
