# shellcheck shell=bash
# Writes the components' configuration from the templates in conf/. Sourced after cluster.sh.

write_configuration() {
    local template
    mkdir -p "$STATE/conf"
    for template in "$HERE"/conf/*; do
        sed -e "s|@CGROUP@|$CGROUP|g" -e "s|@NODE_ADDRESS@|$NODE_ADDRESS|g" -e "s|@POD_NETWORK@|$POD_NETWORK|g" \
            -e "s|@DNS_ADDRESS@|$DNS_ADDRESS|g" -e "s|@KUBELET_SYNC@|${SORCHA_KUBELET_SYNC:-10s}|g" \
            -e "s|@SNAPSHOTTER@|$(snapshotter)|g" "$template" >"$STATE/conf/${template##*/}"
    done
}

# overlayfs, unless the cache is on something that cannot be below one, such as another overlayfs
snapshotter() {
    # shellcheck disable=SC2016
    inside sh -c 'cd /var/lib/containerd && mkdir -p probe/l probe/u probe/w probe/m &&
        mount -t overlay -o lowerdir=probe/l,upperdir=probe/u,workdir=probe/w overlay probe/m && umount probe/m' 2>/dev/null &&
        echo overlayfs || echo native
}
