#!/bin/sh
# Makes a throw-away kryoptic token for tests.
#
#   make-token.sh DIR LABEL [PIN-FILE]
#
# DIR/kryoptic.conf is made, or gets one slot more; the token is a SQLite file beside it. PIN-FILE holds the user PIN; without it a
# random PIN is drawn and written to DIR/pin (0600). Prints what to set and where the module is.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 DIR LABEL [PIN-FILE]" >&2; exit 2; }
dir=$1 label=$2 pin_file=${3:-}
here=$(cd "$(dirname "$0")" && pwd)

command -v pkcs11-tool >/dev/null || { echo "pkcs11-tool is missing: apt-get install opensc" >&2; exit 1; }
module=$(sh "$here/build.sh")

umask 077
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
conf=$dir/kryoptic.conf
touch "$conf"
# grep ends with 1 where it counts none, which is the first slot.
slot=$(grep -c '^\[\[slots\]\]' "$conf" || true)
printf '[[slots]]\nslot = %s\ndbtype = "sqlite"\ndbargs = "%s/token-%s.sql"\n\n' "$slot" "$dir" "$slot" >>"$conf"
if [ -z "$pin_file" ]; then
    pin_file=$dir/pin
    [ -e "$pin_file" ] || od -An -N12 -tx1 /dev/urandom | tr -d ' \n' >"$pin_file"
fi
KRYOPTIC_CONF=$conf KEYGATE_PIN=$(cat "$pin_file") KEYGATE_SO_PIN=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
export KRYOPTIC_CONF KEYGATE_PIN KEYGATE_SO_PIN
tool() { pkcs11-tool --module "$module" --slot "$slot" --so-pin env:KEYGATE_SO_PIN "$@" >/dev/null; }
tool --init-token --label "$label"
tool --login --login-type so --init-pin --pin env:KEYGATE_PIN

echo "KRYOPTIC_CONF=$conf"
echo "MODULE=$module"
echo "PIN_FILE=$pin_file"
