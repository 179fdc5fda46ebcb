# perisco in an empty image: one static binary. `scripts/image` makes the root filesystem, here and in
# the tests, which run it without a container engine.
#
#   docker build -t perisco .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends clang make pkg-config libelf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN scripts/image --root /image

FROM scratch
COPY --from=build /image/ /
ENV PATH=/bin
ENTRYPOINT ["/bin/perisco"]
CMD ["--help"]
