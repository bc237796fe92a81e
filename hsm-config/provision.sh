#!/usr/bin/env bash
# provision.sh DIR [TOKEN]: a SoftHSM token with a master key in DIR. Idempotent, asks nothing.
#
# Installs SoftHSM with apt-get where it is missing. The token and the key are made by
# examples/provision.rs through the module itself: softhsm2-util can make a token, but no AES key
# with the attributes of a master key. $PROVISION may name that program, built; else cargo builds it.
set -euo pipefail
umask 077

[ $# -ge 1 ] && [ $# -le 2 ] || {
    echo "usage: $0 DIR [TOKEN]" >&2
    exit 2
}
mkdir -p "$1"
dir=$(cd "$1" && pwd)
token=${2:-strongroom}
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "provision: $*"; }

find_module() {
    local module
    for module in /usr/lib/softhsm /usr/lib/*/softhsm /usr/lib64/pkcs11 /usr/lib64 /usr/local/lib/softhsm; do
        if [ -e "$module/libsofthsm2.so" ]; then
            echo "$module/libsofthsm2.so"
            return
        fi
    done
    return 1
}

if ! module=$(find_module); then
    command -v apt-get >/dev/null || {
        echo "provision: SoftHSM is missing and there is no apt-get: install softhsm2, then this again" >&2
        exit 1
    }
    root=
    [ "$(id -u)" = 0 ] || root=sudo
    say "installing softhsm2"
    $root apt-get update -qq
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends softhsm2 >/dev/null
    module=$(find_module) || {
        echo "provision: softhsm2 is installed, but libsofthsm2.so is not where it was looked for" >&2
        exit 1
    }
fi
say "module $module"

# once FILE COMMAND...: writes the file, whole or not at all, unless it is there.
once() {
    local file=$1
    shift
    if [ -e "$file" ]; then
        say "kept $file"
        return
    fi
    "$@" >"$file.new"
    chmod 600 "$file.new"
    mv "$file.new" "$file"
    say "made $file"
}
hex() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
configuration() { sed "s|@TOKENS@|$dir/tokens|" "$here/softhsm2.conf"; }

mkdir -p "$dir/tokens"
once "$dir/softhsm2.conf" configuration
once "$dir/pin" hex
once "$dir/so-pin" hex
once "$dir/root" hex

provision=(${PROVISION:+"$PROVISION"})
if [ ${#provision[@]} = 0 ]; then
    command -v cargo >/dev/null || {
        echo "provision: cargo is missing; install Rust, or let \$PROVISION name examples/provision, built" >&2
        exit 1
    }
    provision=(cargo run --quiet --manifest-path "$here/../Cargo.toml" --example provision --)
fi
# PINs go by file: a command line is public.
SOFTHSM2_CONF="$dir/softhsm2.conf" "${provision[@]}" "$module" "$token" "$(cat "$dir/root")" "$dir/pin" "$dir/so-pin"

say "for the daemon's configuration:"
cat <<TEXT
[hsm]
module = "$module"
token = "$token"
root = "$(cat "$dir/root")"
pin_file = "$dir/pin"
environment = { SOFTHSM2_CONF = "$dir/softhsm2.conf" }
TEXT
