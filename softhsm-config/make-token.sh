#!/bin/sh
# Makes a throw-away SoftHSM token for development and tests.
#
#   make-token.sh DIR LABEL [PIN-FILE]
#
# DIR/softhsm2.conf and DIR/tokens are made; further tokens may be added to the same DIR. PIN-FILE holds the user PIN; without it a
# random PIN is drawn and written to DIR/pin (0600). Prints what to set and where the module is.
# Not for keys that matter: the token's files are protected by the PIN alone.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 DIR LABEL [PIN-FILE]" >&2; exit 2; }
dir=$1 label=$2 pin_file=${3:-}
here=$(cd "$(dirname "$0")" && pwd)

command -v softhsm2-util >/dev/null || { echo "softhsm2-util is missing: apt-get install softhsm2" >&2; exit 1; }
module=
for candidate in "${KEYGATE_SOFTHSM_MODULE:-}" /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
    /usr/lib64/pkcs11/libsofthsm2.so /opt/homebrew/lib/softhsm/libsofthsm2.so; do
    if [ -n "$candidate" ] && [ -e "$candidate" ]; then module=$candidate; break; fi
done
[ -n "$module" ] || { echo "libsofthsm2.so is missing: set KEYGATE_SOFTHSM_MODULE" >&2; exit 1; }

umask 077
mkdir -p "$dir/tokens"
dir=$(cd "$dir" && pwd)
[ -e "$dir/softhsm2.conf" ] || sed "s|@TOKEN_DIR@|$dir/tokens|" "$here/softhsm2.conf.in" >"$dir/softhsm2.conf"
if [ -z "$pin_file" ]; then
    pin_file=$dir/pin
    [ -e "$pin_file" ] || od -An -N12 -tx1 /dev/urandom | tr -d ' \n' >"$pin_file"
fi
pin=$(cat "$pin_file")
so_pin=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')

# softhsm2-util takes PINs as arguments only; this is a throw-away token.
SOFTHSM2_CONF=$dir/softhsm2.conf softhsm2-util --module "$module" --init-token --free --label "$label" --pin "$pin" --so-pin "$so_pin" >/dev/null

echo "SOFTHSM2_CONF=$dir/softhsm2.conf"
echo "MODULE=$module"
echo "PIN_FILE=$pin_file"
