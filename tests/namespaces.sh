#!/usr/bin/env bash
# Four validators in processes and network namespaces of their own, joined by relays in user space: cut in two halves
# (nothing is decided, nothing forks), joined again (it goes on), then with 50 ms of delay and 5 % of loss each way (it
# goes on); in the end all four logs verify and say the same. `bash tests/namespaces.sh PROGRAM RELAY [PLANE]`, where
# PROGRAM is a built `selfchain`, RELAY the built `relay` of `selfchain-tests`, and PLANE `stake` or `poai`. Needs root
# and `ip`; where namespaces are not allowed it says so and ends with 0.
set -euo pipefail

program=$(realpath "${1:?name the built program: target/release/selfchain}")
relay=$(realpath "${2:?name the built relay: target/release/relay}")
plane=${3:-stake}
READY_TRIES=100
PORT=7402
CUT_SECONDS=5

# One namespace for each validator, `v0` to `v3`, and one, `road`, with the relays. They are this run's alone.
prefix="sc$$"
road="$prefix-road"
folder=$(mktemp -d)
pids=()
relays=()

finish() {
    for pid in "${pids[@]}" "${relays[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for name in 0 1 2 3 road; do ip netns delete "$prefix-$name" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT

skip() {
    echo "skipped: $1"
    exit 0
}

command -v ip >/dev/null || skip "there is no command \`ip\` (package iproute2)"
ip netns add "$road" 2>"$folder/why" || skip "network namespaces are not allowed here: $(cat "$folder/why")"
ip -n "$road" link set lo up

data() { echo "$folder/validator-$1"; }
inside() { ip netns exec "$prefix-$1" "${@:2}"; }
key() { "$program" keys show --data "$(data "$1")" --json | grep -o '"public":"[0-9a-f]*"' | cut -d'"' -f4; }

"$program" testnet --validators 4 --plane "$plane" --output "$folder" >/dev/null
declare -A keys
for one in 0 1 2 3; do
    keys[$one]=$(key "$one")
    ip netns add "$prefix-$one"
    ip link add "e$$-$one" netns "$prefix-$one" type veth peer name "r$$-$one" netns "$road" 2>"$folder/why" ||
        skip "no pair of network devices can be made here: $(cat "$folder/why")"
    ip -n "$prefix-$one" address add "10.77.$one.2/24" dev "e$$-$one"
    ip -n "$road" address add "10.77.$one.1/24" dev "r$$-$one"
    ip -n "$prefix-$one" link set lo up
    ip -n "$prefix-$one" link set "e$$-$one" up
    ip -n "$road" link set "r$$-$one" up
done

# What validator `from` takes for validator `to`: a relay at its end of the road.
gate() { echo "10.77.$1.1:$((7500 + 10 * $1 + $2))"; }

for from in 0 1 2 3; do
    for to in 0 1 2 3; do
        [ "$from" = "$to" ] && continue
        mkfifo "$folder/path-$from-$to"
        ip netns exec "$road" "$relay" "$(gate "$from" "$to")" "10.77.$to.2:$PORT" 0 0 0 "$((4 * from + to))" \
            <"$folder/path-$from-$to" >"$folder/relay-$from-$to" &
        relays+=($!)
        # Kept open: a relay ends with its input.
        exec {hold}>"$folder/path-$from-$to"
        eval "path_${from}_$to=$hold"
    done
done

# Delay in ms, jitter in ms, loss in percent, from here on: between the halves, or everywhere.
path() {
    local which=$1 from to name
    for from in 0 1 2 3; do
        for to in 0 1 2 3; do
            [ "$from" = "$to" ] && continue
            [ "$which" = halves ] && [ $((from / 2)) = $((to / 2)) ] && continue
            name="path_${from}_$to"
            echo "$2 $3 $4" >&"${!name}"
        done
    done
}

start() {
    local peers="" to
    for to in 0 1 2 3; do
        [ "$to" = "$1" ] || peers="$peers${peers:+,}${keys[$to]}@$(gate "$1" "$to")"
    done
    # Not by `inside`: the process to kill is the node, not a shell that waits for it.
    ip netns exec "$prefix-$1" "$program" run --data "$(data "$1")" --validator.listen "10.77.$1.2:$PORT" --validator.peers "$peers" \
        >"$folder/said-$1" 2>"$folder/log-$1" &
    pids[$1]=$!
    for _ in $(seq "$READY_TRIES"); do
        grep -qs listening "$folder/said-$1" && return
        sleep 0.1
    done
    echo "validator $1 did not start:" >&2
    cat "$folder/log-$1" >&2
    exit 1
}

tip() { inside "$1" "$program" consensus status --data "$(data "$1")" --json | grep -o '"tip":[0-9]*' | head -1 | cut -d: -f2; }
open() { inside "$1" "$program" account open "$2" --asset 978 --data "$(data "$1")" --deadline-ms "$3" >/dev/null 2>&1; }

# Opens an account at one validator, and waits until all others have it.
progress() {
    open "$1" "$2" 60000 || fail "account $2 was not opened at validator $1: $3"
    for one in 0 1 2 3; do
        for _ in $(seq "$READY_TRIES"); do
            inside "$one" "$program" account show "$2" --data "$(data "$one")" >/dev/null 2>&1 && continue 2
            sleep 0.1
        done
        fail "validator $one does not have account $2: $3"
    done
    echo "$3: progress, height $(tip 0)"
}

fail() {
    echo "$1" >&2
    inside 0 "$program" consensus status --data "$(data 0)" >&2 || true
    exit 1
}

for one in 0 1 2 3; do start "$one"; done
inside 0 "$program" asset create 978 --scale 2 --data "$(data 0)" --deadline-ms 60000 >/dev/null
progress 1 1 "all joined"

path halves 0 0 100
before=$(tip 0)
open 0 2 $((1000 * CUT_SECONDS)) && fail "an account was opened by half of the power"
open 2 3 $((1000 * CUT_SECONDS)) && fail "an account was opened by the other half"
for one in 0 1 2 3; do
    # A block that both halves had voted for when the cut came may still be decided, and the one after it.
    [ "$(tip "$one")" -le $((before + 2)) ] || fail "validator $one went on from height $before to $(tip "$one") alone"
done
echo "cut in two halves: no progress, height $before"

path all 0 0 0
progress 3 4 "joined again"

path all 50 0 5
progress 1 5 "50 ms of delay, 5 % of loss"
progress 2 6 "50 ms of delay, 5 % of loss"
path all 0 0 0

for one in 0 1 2 3; do
    for _ in $(seq "$READY_TRIES"); do
        [ "$(tip "$one")" = "$(tip 0)" ] && break
        sleep 0.1
    done
done
for one in 0 1 2 3; do kill "${pids[$one]}"; done
for one in 0 1 2 3; do wait "${pids[$one]}" || true; done
pids=()
for one in 0 1 2 3; do
    "$program" verify --data "$(data "$one")" --json | tail -1 | tee -a "$folder/verified"
done
roots=$(grep -o '"state_root":"[0-9a-f]*"' "$folder/verified" | sort -u | wc -l)
if [ "$roots" -ne 1 ]; then
    echo "the validators have $roots different states" >&2
    exit 1
fi
echo "all four verify, with one state"
