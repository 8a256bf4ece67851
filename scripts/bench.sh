#!/usr/bin/env bash
# Times the training steps of the fixtures beside XLA's, in one run. Options are those of bench.py.
set -euo pipefail
exec "$(dirname "$0")/python.sh" "$(dirname "$0")/bench.py" "$@"
