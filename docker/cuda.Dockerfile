# whyrec on NVIDIA GPUs. Not tested: no container engine was available.
# docker build -f docker/cuda.Dockerfile -t whyrec:cuda .
# docker run --rm --gpus all --ipc=host --ulimit memlock=-1 -v "$PWD/runs:/runs" whyrec:cuda \
#   run configs/demo.txtpb --workspace /runs/demo
# The CUDA libraries are those of launch/setup --cuda; only the driver comes from the host.
FROM debian:12 AS builder
COPY . /whyrec
WORKDIR /whyrec
ENV WHYREC_CACHE=/opt/whyrec
RUN launch/setup --cuda && launch/build -DWHYREC_TESTS=OFF && launch/bundle.sh /bundle

FROM debian:12-slim
LABEL org.opencontainers.image.title=whyrec whyrec.libtorch=2.11.0
RUN apt-get update && apt-get install -y --no-install-recommends \
      openmpi-bin libgomp1 openssh-client openssh-server procps && rm -rf /var/lib/apt/lists/* && \
    useradd --create-home --uid 1000 whyrec && mkdir /runs && chown whyrec /runs
COPY --from=builder /opt/whyrec /opt/whyrec
COPY --from=builder /bundle /whyrec/build
COPY --from=builder /whyrec/launch /whyrec/launch
COPY --from=builder /whyrec/configs /whyrec/configs
COPY --from=builder /whyrec/examples /whyrec/examples
ENV WHYREC_CACHE=/opt/whyrec LibTorch_ROOT=/opt/whyrec/libtorch-2.11.0/torch \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER whyrec
WORKDIR /whyrec
ENTRYPOINT ["build/whyrec"]
