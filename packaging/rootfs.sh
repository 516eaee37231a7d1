# shellcheck shell=bash
# What goes into an image's root folder beside its programs. Sourced.

# Users, a place for temporary files, and where names are looked up.
people() { # ROOTFS
    mkdir -p "$1/etc" "$1/tmp"
    chmod 1777 "$1/tmp"
    printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$1/etc/passwd"
    printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$1/etc/group"
    echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
}

# The shared libraries that programs need, as this machine has them, the loader among them.
libraries_of() { # PROGRAM...
    local program
    for program in "$@"; do
        ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | grep -v '^.*:$' || true
    done | sort -u
}

copy_libraries() { # ROOTFS PROGRAM...
    local rootfs=$1 library
    shift
    libraries_of "$@" | while read -r library; do
        case $library in
            "$rootfs"/*) ;; # it brings its own
            *) install -D -m 755 "$library" "$rootfs$library" ;;
        esac
    done
}
