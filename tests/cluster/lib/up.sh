# shellcheck shell=bash
# Brings the cluster up, or what of it does not run. Sourced after the other parts.

up() { # "" or --no-kubelet
    [[ -z ${1:-} || $1 == --no-kubelet ]] || usage_error "up takes --no-kubelet or nothing"
    local component began=$SECONDS wanted=("${COMPONENTS[@]}")
    need_root up
    [[ -z ${1:-} ]] || wanted=("${CONTROL_PLANE[@]}" volume-modes)
    "$HERE/tools" packages pause kubectl "${CONTROL_PLANE[@]}"
    [[ -n ${1:-} ]] || "$HERE/tools" kube-scheduler kubelet kube-proxy coredns
    lock "$STATE.lock" "cluster up or down"
    if is_complete && is_healthy "${wanted[@]}"; then
        read_network
        say "the cluster '$CLUSTER' is up already"
        return
    fi
    trap give_up EXIT
    trap 'exit 130' INT TERM HUP
    is_complete || begin_anew
    read_network
    bring_up_control_plane
    [[ -n ${1:-} ]] || bring_up_node
    for component in "${wanted[@]}"; do is_running "$component" || blame "$component" "$component has ended"; done
    touch "$STATE/complete"
    trap - EXIT INT TERM HUP
    rm -rf "$CACHE/cluster/$CLUSTER.failed"
    say "the cluster '$CLUSTER' is up, in $((SECONDS - began)) s: export KUBECONFIG=${KUBECONFIG_FILE@Q}"
}

is_complete() { [[ -f $STATE/complete ]] && find_node; }

is_healthy() { # COMPONENT...
    local component
    for component in "$@"; do is_running "$component" || return 1; done
    api_server_is_ready
}

# Nothing half-made is built upon: what an interrupted `up`, a crash or a reboot left is removed first.
begin_anew() {
    [[ ! -e $STATE ]] || take_down
    mkdir -p "$STATE/logs"
    make_node
    make_network
}

give_up() {
    local status=$? kept=$CACHE/cluster/$CLUSTER.failed
    trap - EXIT INT TERM HUP
    rm -rf "$kept"
    cp -r "$STATE/logs" "$kept" 2>/dev/null && say "all logs of this attempt: $kept"
    take_down
    exit "$status"
}

bring_up_control_plane() {
    write_configuration
    start etcd
    make_pki
    start kube-apiserver
    start volume-modes
    await kube-apiserver 90 "readiness" api_server_is_ready
    start kube-controller-manager # not sooner: what it may do is among the API server's first objects
    "${KUBECTL[@]}" apply --filename "$STATE/conf/base.yaml" >>"$STATE/logs/base.log" 2>&1 ||
        blame base "the cluster's first objects could not be made"
    await kube-controller-manager 60 "default ServiceAccount" "${KUBECTL[@]}" get serviceaccount default
}

bring_up_node() {
    make_cgroups
    inside install -D -m 644 "$CONF/pods.conflist" /run/cni/10-pods.conflist
    start containerd
    start kube-scheduler
    start kube-proxy
    start coredns
    await containerd 30 "answer" inside ctr version
    load_pause
    start kubelet
    await kubelet 90 "Ready node" node_is_ready
    await kubelet 30 "answer to the API server" "${KUBECTL[@]}" get --raw "/api/v1/nodes/$CLUSTER/proxy/healthz"
    await coredns 30 "answer through its Service" inside busybox nslookup kubernetes.default.svc.cluster.local "$DNS_ADDRESS"
}

api_server_is_ready() { "${KUBECTL[@]}" get --raw /readyz --request-timeout 5s >/dev/null 2>&1; }

node_is_ready() {
    "${KUBECTL[@]}" wait --for condition=Ready "node/$CLUSTER" --timeout 5s --request-timeout 6s
}

load_pause() {
    local folder=$STATE/pause
    mkdir -p "$folder"
    cp "$BIN/pause" "$folder/pause"
    "$HERE/image.py" --entrypoint '["/pause"]' --user 65535:65535 "$folder" localhost/pause:sorcha "$STATE/pause.tar"
    import <"$STATE/pause.tar" >/dev/null || blame containerd "the pause image could not be loaded"
}

# An image archive on stdin, into the node.
import() { inside ctr --namespace k8s.io images import -; }
