#!/usr/bin/env bash
# Our backups and another implementation of age, in both directions: `bash tests/age/interop.sh PATH_OF_SELFCHAIN`.
# It needs node (20 or later) and npm, and makes everything in a folder that vanishes.
set -euo pipefail
selfchain=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$here"/package.json "$here"/package-lock.json "$here"/interop.mjs "$folder"
cd "$folder"
npm ci --ignore-scripts --no-audit --no-fund --silent

field() {
    node -e 'let text = ""; process.stdin.on("data", (part) => (text += part)).on("end", () => {
        let value = JSON.parse(text.trim().split("\n").pop());
        for (const name of process.argv[1].split(".")) value = value[name];
        console.log(value);
    });' "$1"
}

# A running node with a few blocks.
"$selfchain" init --data data --json >/dev/null
mkfifo said
"$selfchain" run --data data --with-unused-ports --json >said 2>node.log &
node=$!
trap 'kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$folder"' EXIT
# It says where it listens, or ends.
exec 3<said
read -r started <&3
server=$(field ingest <<<"$started")
"$selfchain" asset create 978 --data data --server "$server" --json >/dev/null
"$selfchain" account open 1 --asset 978 --data data --server "$server" --json >/dev/null

# Sealed to an identity of ours and to one of theirs; while the node runs.
"$selfchain" keys new root --scheme ed25519+slh-dsa-sha2-128f --json >/dev/null
ours=$("$selfchain" backup recipient new ours --json | field recipient)
theirs=$(node interop.mjs new theirs)
"$selfchain" backup create --data data --server "$server" --to depot --key root --recipient "$ours" --recipient "$theirs" --json >created
[ "$(field from_running_node <created)" = true ]
"$selfchain" backup list --from depot --owner root --data data --json >listed

# They open every part, with either identity, and find what the manifest says.
parts=0
for part in depot/*.age; do
    number=$((10#$(basename "$part" .age | cut -d- -f2)))
    want=$(field "manifests.0.parts.$number.plain_blake3" <listed)
    for identity in ours theirs; do
        [ "$(node interop.mjs open "$identity" "$part" opened)" = "$want" ]
    done
    "$selfchain" backup open "$part" --identity ours --out by-us --json >/dev/null
    cmp opened by-us
    parts=$((parts + 1))
done
[ "$parts" -ge 2 ]

# We restore with their identity, and open what they sealed for ours.
"$selfchain" backup restore --from depot --owner root --identity theirs --into back --data data --json >restored
[ "$(field ok <restored)" = true ]
head -c 300000 /dev/urandom >plain
node interop.mjs seal "$ours" plain from-them.age
"$selfchain" backup open from-them.age --identity ours --out from-them --json >/dev/null
cmp plain from-them
[ "$("$selfchain" backup recipient show theirs --json | field recipient)" = "$theirs" ]

# A flipped byte is refused by both.
cp from-them.age flipped.age
printf 'X' | dd of=flipped.age bs=1 seek=250000 conv=notrunc status=none
if "$selfchain" backup open flipped.age --identity ours --out never --json >/dev/null 2>&1; then exit 1; fi
if node interop.mjs open ours flipped.age never >/dev/null 2>&1; then exit 1; fi
[ ! -e never ]

echo "age: $parts parts of ours opened by the other implementation with two identities, one of theirs by us; a flipped byte refused by both"
