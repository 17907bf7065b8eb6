# Centripetal in an image of its own: no shell, no package manager, not root.
#
#   docker build --tag centripetal .
#   docker run --volume "$PWD/config.json:/etc/centripetal/config.json:ro" --publish 8000:8000 --publish 8001:8001 centripetal
#
# Reads config.json of its working directory, /etc/centripetal, and the environment. docs/deploy.md says more.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The dependencies stay in the builder's cache, so that a change of the source compiles only itself.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin centripetal \
    && cp target/release/centripetal /centripetal

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /centripetal /usr/bin/centripetal
WORKDIR /etc/centripetal
# The check below needs the health endpoint.
ENV CENTRIFUGO_HEALTH_ENABLED=true
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/usr/bin/centripetal", "healthcheck"]
ENTRYPOINT ["/usr/bin/centripetal"]
