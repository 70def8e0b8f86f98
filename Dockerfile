# lowbit with a software Vulkan driver: `docker build -t lowbit . && docker run --rm -v "$PWD/out:/out" lowbit` writes
# out/report.html. With a GPU's driver passed through (--gpus all, /dev/dri) the same image measures that.
FROM rust:1.95-bookworm AS build
WORKDIR /lowbit
COPY . .
RUN cargo build --release --locked && strip target/release/lowbit

FROM debian:bookworm-slim
COPY .ci/setup-vulkan /usr/local/bin/setup-vulkan
RUN /usr/local/bin/setup-vulkan && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=build /lowbit/target/release/lowbit /usr/local/bin/lowbit
WORKDIR /out
ENTRYPOINT ["lowbit"]
CMD ["report", "--quick"]
