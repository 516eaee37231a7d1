# shellcheck shell=bash
# What every part of tests/cluster shares: folders, messages, locks and waiting.
# Sourced; expects `set -euo pipefail` and $HERE, the folder tests/cluster.
# shellcheck disable=SC2034 # used where this is sourced

# shellcheck source=../versions
source "$HERE/versions"

CACHE=$(realpath -m "${SORCHA_CACHE:-${HOME:?set HOME or SORCHA_CACHE}/.cache/sorcha}")
TOOLS=$CACHE/kubernetes-$KUBERNETES
BIN=$TOOLS/bin

say() { echo "cluster: $*" >&2; }

die() {
    echo "cluster: error: $*" >&2
    exit 1
}

usage_error() {
    echo "cluster: $*; see tests/cluster/cluster --help" >&2
    exit 2
}

# Holds the lock FILE on descriptor 9 until this process ends. What is started meanwhile must not inherit it: 9>&-.
lock() { # FILE WHAT
    mkdir -p "$(dirname "$1")"
    exec 9>"$1"
    flock --nonblock 9 || {
        say "waiting for another '$2' to end"
        flock 9
    }
}

# Repeats COMMAND until it succeeds, for at most SECONDS.
wait_until() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}
