# shellcheck shell=bash
# One cluster's name, folder, addresses and node. The node is a set of namespaces (process ids, mounts, network, host name)
# held by one process: everything of the cluster runs in them and dies with that process. Sourced after common.sh.
#
# Inside the node, whatever the machine's folders are called:
#   /run/sorcha/state  $STATE            /run/sorcha/bin  $BIN
#   /var/lib/{containerd,etcd,kubelet}, /var/log, /tmp         folders of $STATE
#   /run, /var/lib                                        otherwise empty, in memory

# shellcheck disable=SC2034 # used where this is sourced
CLUSTER=${SORCHA_CLUSTER:-sorcha}
[[ $CLUSTER =~ ^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$ ]] ||
    die "SORCHA_CLUSTER is '$CLUSTER'. Remedy: at most 32 lower case letters, digits and dashes, a letter first"
STATE=$CACHE/cluster/$CLUSTER
KUBECONFIG_FILE=$STATE/kubeconfig
KUBECTL=("$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE")

SERVICE_NETWORK=10.96.0.0/16 # each cluster's own: it is known in its node only
DNS_ADDRESS=10.96.0.10

# Pods are in 10.N.1.0/24, host and node in 10.N.0.0/30; N is chosen by `up`, no other cluster on the machine has it, and it is
# kept in the file network.
read_network() {
    local n
    n=$(<"$STATE/network")
    LINK=sorcha-$n
    CGROUP=sorcha-$n
    HOST_ADDRESS=10.$n.0.1
    NODE_ADDRESS=10.$n.0.2
    POD_NETWORK=10.$n.1.0/24
}

# What tells a process from a later one with the same number: its start in this boot.
identity_of() { # PID
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # after the name in parentheses: state is the 1st field, the start the 20th
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [[ $1 != [ZX] ]] && echo "${20} $(</proc/sys/kernel/random/boot_id)"
}

# Sets NODE_PID, if the node is there.
find_node() {
    local identity
    NODE_PID=
    [[ -f $STATE/node ]] || return 1
    read -r NODE_PID identity <"$STATE/node" || return 1
    [[ $(identity_of "$NODE_PID") == "$identity" ]] || {
        NODE_PID=
        return 1
    }
}

# Runs a command in the node, with the node's idea of everything.
inside() {
    nsenter --target "$NODE_PID" --mount --pid --net --uts -- /usr/bin/env -i \
        HOME=/root LANG=C.UTF-8 PATH=/run/sorcha/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" 9>&-
}

need_node() {
    find_node || die "the cluster '$CLUSTER' is not up. Remedy: tests/cluster/cluster up"
}

need_root() {
    ((EUID == 0)) || die "'$1' makes namespaces, mounts and cgroups. Remedy: run it as root"
}
