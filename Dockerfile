# Images of the product, one target each: docker build --target node-agent -t REGISTRY/node-agent:TAG .
# The test clusters of this repository write the same images without an engine (make images).
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Static, so that the final image is the binary alone.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$(rustc -vV | sed -n 's/^host: //p')" \
      -p katalyst-node-agent -p katalyst-scheduler-extender -p katalyst-controllers \
 && mkdir /out && for name in node-agent scheduler-extender controllers; do cp target/*/release/katalyst-$name /out/; done

FROM scratch AS node-agent
COPY --from=build /out/katalyst-node-agent /usr/bin/katalyst-node-agent
ENTRYPOINT ["/usr/bin/katalyst-node-agent"]

FROM scratch AS scheduler-extender
COPY --from=build /out/katalyst-scheduler-extender /usr/bin/katalyst-scheduler-extender
USER 65532
ENTRYPOINT ["/usr/bin/katalyst-scheduler-extender"]

FROM scratch AS controllers
COPY --from=build /out/katalyst-controllers /usr/bin/katalyst-controllers
USER 65532
ENTRYPOINT ["/usr/bin/katalyst-controllers"]
