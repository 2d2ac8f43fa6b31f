# syntax=docker/dockerfile:1
# Build:  docker build -t whisper .                         CPU
#         docker build -t whisper:gpu --build-arg DEVICE=gpu .
# Run:    docker run --rm -p 127.0.0.1:8080:8080 whisper    the bundled demo; docs/docker.md has the rest
# Gateway: docker run --rm -p 127.0.0.1:8000:8000 -e WHISPER_GATEWAY_HOST=0.0.0.0 -e GATEWAY_ACCESS__KEYS='["a-key"]' whisper

# An exact tag; pin its digest when you have pulled it: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS requirements
# cpu or gpu. PyPI's torch brings CUDA's libraries (several GB); PyTorch's own index has the CPU build.
ARG DEVICE=cpu
ARG CPU_INDEX_URL=https://download.pytorch.org/whl/cpu
# Optional parts, as in "requirements-gateway.txt requirements-ctranslate2.txt".
ARG EXTRAS=
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1
WORKDIR /app
RUN python -m venv /opt/venv
# Only what decides the environment: editing the code does not install it again.
COPY requirements.txt requirements.lock requirements-clients.txt requirements-gateway.txt requirements-gateway.lock \
    requirements-ctranslate2.txt requirements-ctranslate2.lock requirements-families.txt requirements-families.lock \
    requirements-bulk.txt requirements-bulk.lock ./
COPY model-archiver/requirements.txt model-archiver/requirements.lock model-archiver/
COPY scripts/__init__.py scripts/environment.py scripts/requirements.py scripts/
# EXTRAS are words.
# hadolint ignore=SC2086
RUN if [ "$DEVICE" = cpu ]; then export PIP_EXTRA_INDEX_URL="$CPU_INDEX_URL"; fi \
    && python -m scripts.environment "--$DEVICE" requirements.txt model-archiver/requirements.txt $EXTRAS

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin whisper \
    && install -d /app \
    && install -d -o whisper -g whisper /app/tmp /app/logs /app/model-store /app/spool /app/jobs
COPY --from=requirements /opt/venv /opt/venv
WORKDIR /app
COPY config/ config/
COPY model-archiver/ model-archiver/
COPY scripts/ scripts/
COPY clients/ clients/
COPY bulk/ bulk/
COPY tune/ tune/
COPY samples/ samples/
COPY asr/ asr/
COPY handler/ handler/
COPY gateway/ gateway/
COPY whisper-models/demo.pt whisper-models/
COPY serve.sh ./
# TorchServe is reachable from outside the container, therefore with keys. Management and metrics stay inside; so does
# the gateway until WHISPER_GATEWAY_HOST lets it out, which it refuses without keys of its own.
# The installed environment is taken as it is. NVIDIA_* are read by the NVIDIA container runtime only.
# WHISPER_TOKEN_AUTH is a switch, not a secret.
# hadolint ignore=DL3064
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    WHISPER_INSTALL=no WHISPER_HOST=0.0.0.0 WHISPER_TOKEN_AUTH=true \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
# Weights: mount read-only, -v "$PWD/whisper-models:/app/whisper-models:ro", and name the model. Without them there is
# the demo, which the image holds; `serve.sh` outside of it serves base.
VOLUME ["/app/whisper-models"]
EXPOSE 8000 8080
# It asks the gateway, or without one a worker: that canary waits behind a running batch, at most
# responseTimeout = 900 s: three times 300.
HEALTHCHECK --interval=30s --timeout=300s --start-period=15m --retries=3 \
    CMD ["python", "-m", "scripts.healthcheck"]
ENTRYPOINT ["./serve.sh"]
CMD ["demo"]
