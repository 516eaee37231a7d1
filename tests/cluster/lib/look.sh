# shellcheck shell=bash
# What one may ask of a cluster that is up. Sourced after the other parts.

status() {
    need_root status
    need_node
    read_network
    local component state memory
    echo "cluster $CLUSTER: API server https://$NODE_ADDRESS:6443, pods $POD_NETWORK, host seen from pods $HOST_ADDRESS"
    for component in "${COMPONENTS[@]}"; do
        is_known "$component" || continue
        state=stopped memory=
        # shellcheck disable=SC2016
        if is_running "$component"; then
            state=running
            memory=$(inside sh -c 'sed -n "s/^VmRSS: *//p" "/proc/$(cat "$1")/status"' memory "/run/components/$component")
        fi
        printf '%-24s %-8s %s\n' "$component" "$state" "$memory"
    done
    api_server_is_ready && echo "the API server is ready"
}

logs() { # COMPONENT [TAIL-ARGUMENT...]
    local component=${1:-}
    [[ -n $component ]] || usage_error "logs takes a component: ${COMPONENTS[*]}"
    shift
    [[ -f $STATE/logs/$component.log ]] ||
        die "there is no log of '$component'. Remedy: one of $(cd "$STATE/logs" 2>/dev/null && echo *.log || echo 'none, the cluster is not up')"
    tail "${@:---lines=+1}" "$STATE/logs/$component.log"
}

load_image() { # FILE...
    (($#)) || usage_error "load-image takes archives"
    need_root load-image
    need_node
    is_running containerd || die "containerd does not run. Remedy: tests/cluster/cluster up, without --no-kubelet"
    local file
    for file in "$@"; do
        [[ -r $file ]] || die "cannot read $file. Remedy: tests/cluster/images makes archives"
        import <"$file" >&2 || die "$file could not be loaded. Remedy: it must be an archive as docker save makes them"
    done
}

images() {
    need_root images
    need_node
    inside ctr --namespace k8s.io images list --quiet | grep -v '^sha256:'
}

api_server() { # stop|start
    [[ ${1:-} == stop || ${1:-} == start ]] || usage_error "apiserver takes stop or start"
    need_root "apiserver $1"
    need_node
    read_network
    lock "$STATE.lock" "cluster up or down"
    case $1 in
        stop) stop kube-apiserver 3 ;; # left alone it serves open watches for another minute
        start)
            start kube-apiserver
            await kube-apiserver 60 "readiness" api_server_is_ready
            ;;
    esac
}
