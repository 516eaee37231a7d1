# One image with both programs, no shell, no package manager, not root.
#
#   docker build -t localhost/sorcha:0.1.0 .
#
# BUILD_IMAGE needs a Rust toolchain and Python, or, where none can be had, a folder dist/ with both programs built before and their bills
# of materials (packaging/sbom.py); then any image with a shell and ldd will do. BASE_IMAGE is what the programs are put on; the libraries they need come along.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN set -eu; \
    if [ ! -x dist/sorcha-node ]; then \
      cargo build --release --locked -p sorcha-node -p sorcha-controller; \
      mkdir -p dist; cp target/release/sorcha-node target/release/sorcha-controller dist/; \
      for program in sorcha-node sorcha-controller; do python3 packaging/sbom.py $program dist/$program.cdx.json; done; \
    fi; \
    bin=/image/usr/local/bin; mkdir -p $bin /image/etc/ssl/certs /image/tmp /image/var/lib/sorcha; \
    cp dist/sorcha-node dist/sorcha-controller $bin/; \
    mkdir -p /image/usr/share/doc/sorcha; cp dist/*.cdx.json /image/usr/share/doc/sorcha/; \
    if command -v strip >/dev/null; then strip $bin/*; fi; \
    for lib in $(ldd $bin/* | grep -o '/[^ :()]*\.so[^ :()]*' | sort -u); do \
      mkdir -p /image/$(dirname $lib); cp -L $lib /image/$lib; \
    done; \
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; fi; \
    echo 'nonroot:x:65532:65532::/nonexistent:/sbin/nologin' > /image/etc/passwd; \
    echo 'nonroot:x:65532:' > /image/etc/group; \
    chmod 1777 /image/tmp; chown 65532:65532 /image/var/lib/sorcha

FROM ${BASE_IMAGE}
COPY --from=build /image/ /
USER 65532:65532
ENV PATH=/usr/local/bin
CMD ["/usr/local/bin/sorcha-node", "--help"]
