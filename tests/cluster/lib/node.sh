# shellcheck shell=bash
# Makes and unmakes the node: its namespaces, its link to the machine, its cgroups. Sourced after cluster.sh.

make_node() {
    say "making the node's namespaces"
    setsid unshare --fork --mount --pid --net --uts "$HERE/lib/node-init" "$STATE" "$BIN" "$CLUSTER" \
        </dev/null >"$STATE/logs/node.log" 2>&1 9>&- &
    wait_until 10 node_is_laid_out || blame node "the node's namespaces could not be made"
}

node_is_laid_out() {
    find_node && inside test -e /run/ready
}

# --- network ---------------------------------------------------------------------------------------------------------

make_network() {
    lock_networks
    [[ -s $STATE/network ]] || choose_network >"$STATE/network"
    read_network
    ip link add "$LINK" type veth peer name eth0 netns "$NODE_PID"
    ip address add "$HOST_ADDRESS/30" dev "$LINK"
    ip link set "$LINK" up
    ip route add "$POD_NETWORK" via "$NODE_ADDRESS"
    exec 8>&-
    inside ip link set lo up
    inside ip address add "$NODE_ADDRESS/30" dev eth0
    inside ip link set eth0 up
    # only so that the node itself has a route for what kube-proxy then turns elsewhere; there is no other way out
    inside ip route add "$SERVICE_NETWORK" via "$HOST_ADDRESS"
    inside sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
}

# Two clusters that come up at once must not choose the same, wherever their caches are.
lock_networks() {
    exec 8>/run/lock/sorcha-networks
    flock 8
}

choose_network() {
    local first n i
    first=$(cksum <<<"$CLUSTER" | cut -d' ' -f1)
    for ((i = 0; i < 100; i++)); do
        n=$((100 + (first + i) % 100))
        if network_is_free "10.$n.0.0/16"; then
            echo "$n"
            return
        fi
    done
    die "none of the networks 10.100.0.0/16 to 10.199.0.0/16 is free. Remedy: take a cluster down"
}

network_is_free() { # no route leads into it or past it, but for the default one
    [[ -z $(ip route show root "$1" && ip route show match "$1" | sed '/^default/d') ]]
}

remove_network() {
    ip link delete "$LINK" 2>/dev/null || true # with it go its address and its routes
}

# --- cgroups ---------------------------------------------------------------------------------------------------------

cgroup_roots() { # the one of version 2; or those of version 1, and version 2 without controllers beside them
    awk '$3 ~ /^cgroup2?$/ && $2 ~ "^/sys/fs/cgroup(/|$)" {print $2}' /proc/mounts
}

make_cgroups() { # below them kubelet makes those of the pods
    local root file
    for root in $(cgroup_roots); do
        mkdir -p "$root/$CGROUP"
        for file in cpuset.cpus cpuset.mems; do # on version 1 these start empty, and then nothing may run there
            [[ ! -f $root/$file ]] || cat "$root/$file" >"$root/$CGROUP/$file"
        done
        if [[ -f $root/cgroup.controllers ]]; then
            for file in "$root" "$root/$CGROUP"; do
                sed 's/\</+/g' "$file/cgroup.controllers" >"$file/cgroup.subtree_control"
            done
        fi
    done
}

remove_cgroups() {
    local root
    for root in $(cgroup_roots); do
        [[ ! -d $root/$CGROUP ]] || wait_until 10 remove_cgroup "$root/$CGROUP" || say "could not remove $root/$CGROUP"
    done
}

remove_cgroup() {
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
    [[ ! -d $1 ]]
}
