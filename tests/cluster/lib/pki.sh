# shellcheck shell=bash
# Keys, certificates and kubeconfigs of a cluster, in $STATE/pki. Sourced after cluster.sh.

make_pki() {
    local pki=$STATE/pki
    [[ ! -f $pki/complete ]] || return 0
    (
        umask 077
        mkdir -p "$pki"
        cd "$pki"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=sorcha test cluster" \
            -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature -keyout ca.key -out ca.crt
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out service-account.key
        openssl pkey -in service-account.key -pubout -out service-account.pub
        certificate apiserver /CN=kube-apiserver \
            "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:$NODE_ADDRESS,IP:10.96.0.1,IP:127.0.0.1"
        certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
        certificate admin /O=system:masters/CN=admin
        certificate controller-manager /CN=system:kube-controller-manager
        certificate scheduler /CN=system:kube-scheduler
        certificate kubelet "/O=system:nodes/CN=system:node:$CLUSTER"
        certificate kubelet-server "/O=system:nodes/CN=system:node:$CLUSTER" "DNS:$CLUSTER,IP:$NODE_ADDRESS"
        certificate proxy /CN=system:kube-proxy
        certificate coredns /CN=system:coredns
        touch complete
    ) >"$STATE/logs/pki.log" 2>&1 || blame pki "the certificates could not be made"
    local who
    for who in controller-manager scheduler kubelet proxy coredns; do kubeconfig "$who" >"$pki/$who.kubeconfig"; done
    (umask 077 && kubeconfig admin >"$KUBECONFIG_FILE")
}

certificate() { # NAME SUBJECT [SUBJECT-ALTERNATIVE-NAMES]
    local usage=clientAuth
    [[ -z ${3:-} ]] || usage=serverAuth
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
        -extfile <(printf 'extendedKeyUsage=%s\n' "$usage" && [[ -z ${3:-} ]] || printf 'subjectAltName=%s\n' "$3")
}

kubeconfig() { # NAME: self-contained, so that it can be copied
    cat <<YAML
apiVersion: v1
kind: Config
current-context: $CLUSTER
contexts: [{name: $CLUSTER, context: {cluster: $CLUSTER, user: $1}}]
clusters:
- name: $CLUSTER
  cluster:
    server: https://$NODE_ADDRESS:6443
    certificate-authority-data: $(base64 -w0 "$STATE/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$STATE/pki/$1.crt")
    client-key-data: $(base64 -w0 "$STATE/pki/$1.key")
YAML
}
