#!/bin/sh
# Builds kryoptic with its OpenSSL as a PKCS#11 module, once, and prints where it is.
#
# What it is made of decides: the same inputs are not built again. Needs cargo, cc, make, perl, libclang and SQLite
# (tests/setup.sh installs them); all source comes from the crate registry. Some minutes on two cores.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}/kryoptic
module=$target/libkeygate_kryoptic.so
mkdir -p "$target"
inputs=$({ cat "$here/Cargo.toml" "$here/Cargo.lock" "$here/src/lib.rs" "$0" && rustc --version; } | sha256sum | cut -d' ' -f1)

# Several test programs may come at once; one builds.
exec 9>"$target/lock"
flock 9
if [ ! -e "$module" ] || [ "$(cat "$target/inputs" 2>/dev/null)" != "$inputs" ]; then
    echo "kryoptic: building OpenSSL and the token, once" >&2
    # Little of OpenSSL is ever run here, and most of the time is its compiler's: -O1. What an outer cargo set for its own crates
    # is not for these.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
    CFLAGS=-O1 "${CARGO:-cargo}" build --quiet --locked --release --manifest-path "$here/Cargo.toml" --target-dir "$target/build" 9>&- >&2
    cp "$target/build/release/libkeygate_kryoptic.so" "$module.new"
    mv "$module.new" "$module"
    rm -rf "$target/build"
    echo "$inputs" >"$target/inputs"
fi
echo "$module"
