#!/bin/sh
# Fuzzes each target for SECONDS (default 60) with LLVM's libFuzzer on the stable toolchain: `fuzz/run.sh [SECONDS] [TARGET...]`.
#
# Coverage comes from rustc's own sancov pass, switched on by -C passes and -C llvm-args, which stable accepts. The flags go
# to the target's code only (--target keeps them from build scripts). Needs a C++ compiler for libFuzzer. No
# sanitizer: those need nightly; the crates have no unsafe code for one to watch.
# New inputs stay in fuzz/corpus, those that fail in fuzz/artifacts; `fuzz/run.sh 0 TARGET` only builds.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- message stored xml json certificate csr est keys_json ocsp private_key share text
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-target}

export RUSTFLAGS="-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares -C codegen-units=1 --cfg fuzzing"
for name in "$@"; do
    cargo build --release --quiet --target "$host" --bin "$name"
done
# The seeds are written by an uninstrumented program: an instrumented one lacks libFuzzer's hooks.
RUSTFLAGS="" cargo run --quiet --bin seeds -- corpus
[ "$seconds" -gt 0 ] || exit 0
for name in "$@"; do
    mkdir -p "corpus/$name" "artifacts/$name"
    echo "fuzzing $name for $seconds s"
    "$target_dir/$host/release/$name" "corpus/$name" -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=1024 -timeout=5 \
        -artifact_prefix="artifacts/$name/" -print_final_stats=1
done
