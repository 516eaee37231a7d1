# shellcheck shell=bash
# Debian packages, installed without starting any service. Sourced.

missing_packages() { # PACKAGE... -> the ones that are not installed
    local package
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

install_packages() { # PACKAGE...
    local -a missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "this needs ${missing[*]}, and there is no apt-get to install them. Remedy: run on Debian 12 or newer, or use kind"
    ((EUID == 0)) || die "${missing[*]} must be installed. Remedy: run as root, or apt-get install them"
    say "installing the Debian packages ${missing[*]}"
    local log=$TOOLS/apt.log
    mkdir -p "$TOOLS"
    apt-get -qq update >"$log" 2>&1 || die "apt-get update failed: $(tail -n 3 "$log")"
    # RUNLEVEL=1 is what invoke-rc.d takes for "start nothing" when no policy-rc.d says it
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
        die "apt-get install failed: $(tail -n 3 "$log"). All of it: $log"
}
