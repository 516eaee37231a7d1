# One image with both programs, no shell, no package manager, not root.
#
#   docker build -t localhost/sorcha:0.1.0 .
#
# BUILD_IMAGE needs a Rust toolchain, Python and binutils; name it by digest where the same image must come out again. Where no registry
# can be reached: tests/cluster/images, which needs neither BUILD_IMAGE nor Docker.
ARG BUILD_IMAGE=rust:1.95-bookworm

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p sorcha-node -p sorcha-controller
RUN packaging/rootfs target/release /image && mkdir -p /image/var/lib/sorcha && chown 65532:65532 /image/var/lib/sorcha

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENV PATH=/usr/local/bin
CMD ["/usr/local/bin/sorcha-node", "--help"]
