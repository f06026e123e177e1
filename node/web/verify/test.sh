#!/usr/bin/env bash
# Holds the page against this checkout's verifier, in a headless Chromium: the same proofs, good and spoilt, and the
# same verdicts. Installs what is missing: Chromium by apt-get as root, libraries by npm. BIN names the directory of the
# built programs [default: target/debug].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

bin=${BIN:-target/debug}
work=target/verify-page
install_seconds_max=600
run_seconds_max=110

if ! command -v npm >/dev/null; then
    echo "Node.js with npm is missing (20 or newer): install it, and run again." >&2
    exit 1
fi
if ! command -v chromium >/dev/null && [ -z "${CHROMIUM:-}" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "There is no Chromium, and no way to install one from here: install it, or name one with CHROMIUM." >&2
        exit 1
    fi
    timeout "$install_seconds_max" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive timeout "$install_seconds_max" \
        apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
export CHROMIUM=${CHROMIUM:-$(command -v chromium)}

# A copy: what npm installs does not belong into the checkout.
mkdir -p "$work"
rm -rf "$work/src"
cp -r node/web/verify/. "$work/"
(cd "$work" && timeout "$install_seconds_max" npm ci --no-progress --loglevel error)
(cd "$work" && node build.mjs built.html)
if ! cmp -s "$work/built.html" node/web/verify/index.html; then
    echo "node/web/verify/index.html is not what its sources make: copy $work/built.html there." >&2
    exit 1
fi
rm -rf "$work/cases"
timeout "$run_seconds_max" "$bin/proofs" "$work/cases" "$@"
(cd "$work" && timeout "$run_seconds_max" node compare.mjs index.html cases)
