#!/usr/bin/env bash
# Four validators in processes of their own: each is killed (-9) in turn while the others go on, and started again;
# in the end all four logs verify and say the same. `bash tests/kill-validators.sh PROGRAM [PLANE] [ROUNDS]`, where
# PROGRAM is a built `selfchain`, PLANE `stake` or `poai`, and ROUNDS how often each is killed.
set -euo pipefail

program=${1:?name the built program: target/release/selfchain}
plane=${2:-stake}
rounds=${3:-3}
port_base=17500
READY_TRIES=100

folder=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
    rm -rf "$folder"
}
trap finish EXIT

data() { echo "$folder/validator-$1"; }

start() {
    "$program" run --data "$(data "$1")" >"$folder/said-$1" 2>"$folder/log-$1" &
    pids[$1]=$!
    for _ in $(seq "$READY_TRIES"); do
        grep -qs listening "$folder/said-$1" && return
        sleep 0.1
    done
    echo "validator $1 did not start:" >&2
    cat "$folder/log-$1" >&2
    exit 1
}

"$program" testnet --validators 4 --plane "$plane" --output "$folder" --port-base "$port_base" >/dev/null
for validator in 0 1 2 3; do start "$validator"; done
"$program" asset create 978 --scale 2 --data "$(data 0)" >/dev/null
for round in $(seq "$rounds"); do
    for killed in 0 1 2 3; do
        kill -9 "${pids[$killed]}"
        wait "${pids[$killed]}" 2>/dev/null || true
        "$program" account open $((100 * round + killed)) --asset 978 --data "$(data $(((killed + 1) % 4)))" >/dev/null
        echo "round $round: $killed killed, the others went on"
        start "$killed"
    done
done

# The last one returned has fetched what it missed when it knows what was committed without it.
last=$((100 * rounds + 3))
for _ in $(seq "$READY_TRIES"); do
    "$program" account show "$last" --data "$(data 3)" >/dev/null 2>&1 && break
    sleep 0.1
done
for validator in 0 1 2 3; do kill "${pids[$validator]}"; done
wait || true
pids=()
for validator in 0 1 2 3; do
    "$program" verify --data "$(data "$validator")" --json | tail -1 | tee -a "$folder/verified"
done
roots=$(grep -o '"state_root":"[0-9a-f]*"' "$folder/verified" | sort -u | wc -l)
if [ "$roots" -ne 1 ]; then
    echo "the validators have $roots different states" >&2
    exit 1
fi
echo "all four verify, with one state"
