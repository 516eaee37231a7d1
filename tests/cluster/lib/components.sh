# shellcheck shell=bash
# The cluster's processes: what they are called with, starting, stopping, their logs. Sourced after cluster.sh.
# shellcheck disable=SC2034,SC2054 # used where this is sourced; commas belong to some arguments

CONTROL_PLANE=(etcd kube-apiserver kube-controller-manager)
NODE_COMPONENTS=(containerd kube-scheduler kubelet kube-proxy coredns volume-modes)
COMPONENTS=("${CONTROL_PLANE[@]}" "${NODE_COMPONENTS[@]}")

PKI=/run/sorcha/state/pki
CONF=/run/sorcha/state/conf

command_of() { # COMPONENT: sets COMMAND
    case $1 in
        etcd) # nothing of it outlives `down`, so nothing waits for the disk
            COMMAND=(etcd --name "$CLUSTER" --data-dir /var/lib/etcd
                --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
                --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
                --initial-cluster "$CLUSTER=http://127.0.0.1:2380"
                --unsafe-no-fsync --quota-backend-bytes 4294967296 --log-level warn) ;;
        kube-apiserver)
            COMMAND=(kube-apiserver --etcd-servers http://127.0.0.1:2379
                --advertise-address "$NODE_ADDRESS" --secure-port 6443 --service-cluster-ip-range "$SERVICE_NETWORK"
                --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" --client-ca-file "$PKI/ca.crt"
                --kubelet-client-certificate "$PKI/apiserver-kubelet-client.crt"
                --kubelet-client-key "$PKI/apiserver-kubelet-client.key" --kubelet-certificate-authority "$PKI/ca.crt"
                --kubelet-preferred-address-types InternalIP
                --service-account-issuer https://kubernetes.default.svc.cluster.local
                --service-account-key-file "$PKI/service-account.pub" --service-account-signing-key-file "$PKI/service-account.key"
                --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction
                --audit-policy-file "$CONF/audit-policy.yaml" --audit-log-path /run/sorcha/state/audit.log --audit-log-maxsize 500
                --profiling=false) ;;
        kube-controller-manager)
            COMMAND=(kube-controller-manager --kubeconfig "$PKI/controller-manager.kubeconfig"
                --authentication-kubeconfig "$PKI/controller-manager.kubeconfig"
                --authorization-kubeconfig "$PKI/controller-manager.kubeconfig"
                --use-service-account-credentials --service-account-private-key-file "$PKI/service-account.key"
                --root-ca-file "$PKI/ca.crt" --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key"
                --enable-hostpath-provisioner --leader-elect=false --bind-address 127.0.0.1 --profiling=false) ;;
        kube-scheduler)
            COMMAND=(kube-scheduler --kubeconfig "$PKI/scheduler.kubeconfig"
                --authentication-kubeconfig "$PKI/scheduler.kubeconfig" --authorization-kubeconfig "$PKI/scheduler.kubeconfig"
                --leader-elect=false --bind-address 127.0.0.1 --profiling=false) ;;
        containerd) COMMAND=(containerd --config "$CONF/containerd.toml") ;;
        kubelet)
            COMMAND=(kubelet --config "$CONF/kubelet.yaml" --kubeconfig "$PKI/kubelet.kubeconfig"
                --hostname-override "$CLUSTER" --node-ip "$NODE_ADDRESS") ;;
        kube-proxy) COMMAND=(kube-proxy --config "$CONF/kube-proxy.yaml" --hostname-override "$CLUSTER") ;;
        coredns) COMMAND=(coredns -conf "$CONF/Corefile") ;;
        volume-modes) COMMAND=(bash "$CONF/volume-modes") ;;
        *) return 1 ;;
    esac
}

start() { # COMPONENT, unless it runs
    local -a COMMAND
    is_running "$1" && return
    command_of "$1"
    # the number that is kept is the one in the node: whatever becomes of it, it is nobody's outside
    # shellcheck disable=SC2016
    inside bash -c 'log=$1 pid=$2; shift 2; setsid "$@" </dev/null >>"$log" 2>&1 & echo $! >"$pid"' \
        start "/run/sorcha/state/logs/$1.log" "/run/components/$1" "${COMMAND[@]}"
}

is_running() { # COMPONENT
    # shellcheck disable=SC2016
    inside sh -c 'read -r pid <"$1" && kill -0 "$pid"' is_running "/run/components/$1" 2>/dev/null
}

is_known() { # COMPONENT: was it ever started
    inside test -e "/run/components/$1"
}

stop() { # COMPONENT SECONDS: after them it is killed
    ask_to_end TERM "$1" || return 0
    wait_until "$2" is_stopped "$1" || {
        ask_to_end KILL "$1" || true
        wait_until 10 is_stopped "$1" || die "$1 does not end"
    }
}

ask_to_end() { # SIGNAL COMPONENT
    # shellcheck disable=SC2016
    inside sh -c 'read -r pid <"$2" && kill -s "$1" "$pid"' ask_to_end "$1" "/run/components/$2" 2>/dev/null
}

is_stopped() { ! is_running "$1"; }

# Says what went wrong with the end of the guilty log; the caller's trap cleans up.
blame() { # COMPONENT MESSAGE
    say "the last lines of $1's log:"
    tail -n 15 "$STATE/logs/$1.log" 2>/dev/null | cut -c1-400 | sed 's/^/    /' >&2 || true
    die "$2"
}

# Waits for COMMAND to succeed, and blames COMPONENT when it does not, or when the component ends.
await() { # COMPONENT SECONDS WHAT COMMAND...
    local component=$1 seconds=$2 what=$3 deadline=$((SECONDS + $2))
    shift 3
    until "$@" >/dev/null 2>&1; do
        is_running "$component" || blame "$component" "$component has ended while waiting for $what"
        ((SECONDS < deadline)) || blame "$component" "no $what after $seconds s"
        sleep 0.2
    done
}
