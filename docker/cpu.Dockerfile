# whyrec on CPUs. Not tested: no container engine was available.
# docker build -f docker/cpu.Dockerfile -t whyrec:cpu .
# docker run --rm --shm-size=1g -v "$PWD/runs:/runs" whyrec:cpu run configs/demo.txtpb --workspace /runs/demo
FROM debian:12 AS builder
COPY . /whyrec
WORKDIR /whyrec
ENV WHYREC_CACHE=/opt/whyrec
RUN launch/setup && launch/build -DWHYREC_TESTS=OFF && launch/bundle.sh /bundle

FROM debian:12-slim
LABEL org.opencontainers.image.title=whyrec whyrec.libtorch=2.11.0
# mpirun starts ranks on other hosts through ssh.
RUN apt-get update && apt-get install -y --no-install-recommends \
      openmpi-bin libgomp1 openssh-client openssh-server procps && rm -rf /var/lib/apt/lists/* && \
    useradd --create-home --uid 1000 whyrec && mkdir /runs && chown whyrec /runs
COPY --from=builder /opt/whyrec /opt/whyrec
COPY --from=builder /bundle /whyrec/build
COPY --from=builder /whyrec/launch /whyrec/launch
COPY --from=builder /whyrec/configs /whyrec/configs
COPY --from=builder /whyrec/examples /whyrec/examples
ENV WHYREC_CACHE=/opt/whyrec LibTorch_ROOT=/opt/whyrec/libtorch-2.11.0/torch
USER whyrec
WORKDIR /whyrec
ENTRYPOINT ["build/whyrec"]
