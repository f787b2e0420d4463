#!/usr/bin/env bash
# Runs the thread pool under ThreadSanitizer, which needs a nightly compiler; then each of four bugs on purpose, which it must find.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# compile NAME: the program, with what is in $out/NAME in place of the sources.
compile() {
    rustc +nightly --edition 2024 -O -g -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
        "$out/$1/tests/tsan/pool.rs" -o "$out/$1/program"
}

# copy NAME: the sources.
copy() {
    mkdir -p "$out/$1/tests/tsan" "$out/$1/src/backend/cpu"
    cp tests/tsan/pool.rs "$out/$1/tests/tsan"
    # Its own tests need the test harness, which is not instrumented.
    sed '/^#\[cfg(test)\]/,$d' src/backend/cpu/pool.rs > "$out/$1/src/backend/cpu/pool.rs"
    cp src/backend/cpu/tile.rs "$out/$1/src/backend/cpu"
}

copy sound
compile sound
"$out/sound/program"
echo "the pool: no race found"

# seed NAME FILE SED: a bug that must be found.
seed() {
    copy "$1"
    sed -i "$3" "$out/$1/src/backend/cpu/$2"
    cmp -s "$out/sound/src/backend/cpu/$2" "$out/$1/src/backend/cpu/$2" && { echo "$1: the bug is not in $2 any more"; exit 1; }
    compile "$1"
    if "$out/$1/program" > "$out/$1/log" 2>&1; then
        echo "$1: not found"
        exit 1
    fi
    echo "$1: found"
}
seed leaving pool.rs 's/fetch_sub(1, Release)/fetch_sub(1, Relaxed)/'
seed waiting pool.rs 's/while !self.state.load(Acquire)/while !self.state.load(Relaxed)/'
seed entering pool.rs 's/state + 1, AcqRel, Acquire/state + 1, Relaxed, Relaxed/; s/let state = self.state.load(Acquire)/let state = self.state.load(Relaxed)/'
seed overlapping tile.rs 's/((i + 1) \* width).min(end)/((i + 1) * width + 1).min(end)/'
