# shellcheck shell=bash
# Takes a cluster down, whole or half-made, and leaves nothing. Sourced after the other parts.

down() {
    (($# == 0)) || usage_error "down takes nothing"
    need_root down
    lock "$STATE.lock" "cluster up or down"
    if [[ ! -e $STATE ]]; then
        say "the cluster '$CLUSTER' is not up"
        return
    fi
    local began=$SECONDS
    take_down
    say "the cluster '$CLUSTER' is down, in $((SECONDS - began)) s"
}

take_down() {
    if find_node; then
        # with the first process of a process id namespace go all others, their mounts and their network
        kill -KILL "$NODE_PID"
        [[ ! -s $STATE/network ]] || { read_network && thaw; }
        wait_until 30 node_is_gone || die "process $NODE_PID does not end, so the node's others neither. Remedy: look at /proc/$NODE_PID"
    fi
    if [[ -s $STATE/network ]]; then
        read_network
        remove_network
        remove_cgroups
    fi
    rm -rf --one-file-system "$STATE"
}

node_is_gone() { ! find_node; }

# On cgroups of version 1 a frozen process does not even die.
thaw() {
    local file
    find "/sys/fs/cgroup/freezer/$CGROUP" -name freezer.state 2>/dev/null | while read -r file; do
        echo THAWED >"$file"
    done || true
}
