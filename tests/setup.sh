#!/bin/sh
# Installs what the tests need on a Debian machine and makes the Python environments in target/.
#
# As root it installs missing packages; otherwise it names them and fails. A tool named in KEYGATE_TEST_SKIP (comma separated:
# softhsm, kryoptic, pykmip, kmip-clients, nginx, haproxy, strongswan, pkilint, age, 7z) is not asked for. Nothing is installed that is there already.
# `tests/setup.sh bench` installs what only `make bench` needs on top: cfssl and p11-kit's server, to compare with.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
# Servers stand in /usr/sbin, which not every user's path has.
PATH=$PATH:/usr/sbin:/sbin

skipped() {
    case ",${KEYGATE_TEST_SKIP:-}," in *",$1,"*) return 0 ;; *) return 1 ;; esac
}

missing=
services=
need() { # command, package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_server() { # command, package, service
    command -v "$1" >/dev/null 2>&1 || { missing="$missing $2"; services="$services $3"; }
}

need cc gcc
need openssl openssl
need curl curl
need certtool gnutls-bin
if ! skipped softhsm; then
    need softhsm2-util softhsm2
    need pkcs11-tool opensc
fi
if ! skipped kryoptic; then
    # Its OpenSSL and its bindings to it are built from source.
    need make make
    need pkcs11-tool opensc
    perl -MIPC::Cmd -e 1 2>/dev/null || missing="$missing perl"
    there() { find /usr/lib /usr/local/lib "$@" 2>/dev/null | grep -q .; }
    { there -name 'libclang*.so*' && there -path '*clang*/include/stddef.h'; } || missing="$missing libclang-dev"
    there -name libsqlite3.so || missing="$missing libsqlite3-dev"
fi
if ! skipped pykmip || ! skipped kmip-clients || ! skipped pkilint; then
    need python3 python3
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
fi
skipped age || need age age
skipped 7z || need 7z p7zip-full
skipped nginx || need_server nginx nginx-light nginx
skipped haproxy || need_server haproxy haproxy haproxy
if ! skipped strongswan; then
    need pki strongswan-pki
    # The plug-ins by which pki speaks EST.
    plugin() { find /usr/lib -path "*/ipsec/plugins/libstrongswan-$1.so" 2>/dev/null | grep -q .; }
    plugin openssl || missing="$missing libstrongswan-standard-plugins"
    plugin curl || missing="$missing libstrongswan-extra-plugins"
fi
if [ "${1:-}" = bench ]; then
    need cfssl golang-cfssl
    need p11-kit p11-kit
    find /usr/lib -name p11-kit-client.so 2>/dev/null | grep -q . || missing="$missing p11-kit-modules"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: these packages are missing:$missing" >&2
        echo "setup: install them, or run as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    # The tests start their own servers. A masked unit is neither enabled nor started by the package, now or at the next boot;
    # one that is configured already is left alone. RUNLEVEL=1 says the same to machines without systemd.
    for service in $services; do
        unit=/etc/systemd/system/$service.service
        if [ -d /etc/systemd/system ] && [ ! -e "$unit" ] && [ ! -L "$unit" ]; then
            ln -s /dev/null "$unit"
            echo "setup: $service is installed for the tests only; to use it as a service: systemctl unmask $service" >&2
        fi
    done
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing
fi

if ! skipped pykmip; then
    python=$target/python
    stamp=$python/.keygate-setup-1
    if [ ! -e "$stamp" ]; then
        mkdir -p "$target"
        rm -rf "$python" "$target/pykmip-sdist"
        python3 -m venv "$python"
        "$python/bin/pip" install --quiet --disable-pip-version-check PyKMIP==0.11.0 pytest testtools
        # The integration suite is in the source distribution only.
        "$python/bin/pip" download --quiet --disable-pip-version-check --no-binary :all: --no-deps \
            --dest "$target/pykmip-sdist" pykmip==0.11.0
        tar -xzf "$target"/pykmip-sdist/*.tar.gz -C "$target/pykmip-sdist" --strip-components=1
        touch "$stamp"
    fi
fi

if ! skipped kmip-clients; then
    clients=$target/kmip-clients
    stamp=$clients/.keygate-setup-1
    if [ ! -e "$stamp" ]; then
        mkdir -p "$target"
        rm -rf "$clients"
        python3 -m venv "$clients"
        # pymongo for its BSON alone.
        "$clients/bin/pip" install --quiet --disable-pip-version-check \
            cyphera-kmip==0.0.1a1 pymongocrypt==1.21.2 pymongo==4.20.0
        touch "$stamp"
    fi
fi

if ! skipped pkilint; then
    pkilint=$target/pkilint
    stamp=$pkilint/.keygate-setup-1
    if [ ! -e "$stamp" ]; then
        mkdir -p "$target"
        rm -rf "$pkilint"
        python3 -m venv "$pkilint"
        "$pkilint/bin/pip" install --quiet --disable-pip-version-check pkilint==0.13.3
        touch "$stamp"
    fi
fi

# Some minutes, once; by far the longest of all this.
skipped kryoptic || sh "$root/tests/kryoptic/build.sh" >/dev/null
