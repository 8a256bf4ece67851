#!/usr/bin/env bash
# Runs Python with JAX and what the fixtures and the benchmark need, in a virtual environment made on first use.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=.venv
requirements=tests/fixtures/jax/requirements.txt
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: Python 3.11 or newer is needed; set PYTHON to its path" >&2
    exit 1
fi
if ! cmp -s "$requirements" "$environment/requirements.txt"; then
    "$python" -m venv "$environment" || {
        echo "error: 'python3 -m venv' failed; on Debian install python3-venv" >&2
        exit 1
    }
    "$environment/bin/pip" install --quiet --requirement "$requirements"
    cp "$requirements" "$environment/requirements.txt"
fi
exec "$environment/bin/python" "$@"
