#!/bin/sh
# Installs what the tests need on a Debian machine and makes the Python environment in target/.
#
# As root it installs missing packages; otherwise it names them and fails. A tool named in KEYGATE_TEST_SKIP (comma separated:
# softhsm, pykmip) is not asked for. Nothing is installed that is there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

skipped() {
    case ",${KEYGATE_TEST_SKIP:-}," in *",$1,"*) return 0 ;; *) return 1 ;; esac
}

missing=
need() { # command, package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need cc gcc
need openssl openssl
need curl curl
need certtool gnutls-bin
if ! skipped softhsm; then
    need softhsm2-util softhsm2
    need pkcs11-tool opensc
fi
if ! skipped pykmip; then
    need python3 python3
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: these packages are missing:$missing" >&2
        echo "setup: install them, or run as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
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
