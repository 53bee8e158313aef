#!/bin/bash
# Resolve requirements/*.in into the complete locks requirements/*.txt, for Python 3.10 to 3.13 at once.
# Keeps the versions that still fit; `tools/lock.sh --upgrade` takes the latest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../requirements"

tools=../build/lock
[ -x "$tools/bin/uv" ] || { "${PYTHON:-python3}" -m venv "$tools" && "$tools/bin/pip" --quiet install uv==0.13.9; }

lock() {
    output=$1
    shift
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.10 --config-file uv.toml --no-annotate \
        --custom-compile-command "make lock" --output-file "$output" "$@"
    # uv resolves for every system; ROS 2 and the wheels used here are for Linux.
    sed -i "/ ; sys_platform == 'win32'$/d" "$output"
    echo "requirements/$output: $(grep -c == "$output") versions"
}

lock base.txt base.in dev.in "$@"
lock ros.txt ros.in --constraint base.txt "$@"
lock base-numpy1.txt base.in dev.in numpy1.in "$@"
