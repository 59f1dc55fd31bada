# Both programs: `flyte-admission serve`, and `flyte-admission certs`, which is also `python -m certs`. buildah build --tag flyte-admission:0.1.0 .
#
# The base is python:3.11-slim-bookworm of September 2026, for all its platforms, as docker-library/repo-info lists it. To move on:
#   --build-arg BASE=docker.io/library/python:3.11-slim-bookworm@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# hadolint ignore=DL3006
FROM ${BASE} AS build
WORKDIR /src
# One environment makes the wheel, the other is what the image gets: it has no pip.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/flyte-admission
COPY requirements-build.txt requirements.txt ./
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt \
    && /opt/build/bin/pip --python /opt/flyte-admission/bin/python install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes -r requirements.txt
COPY . .
# The bytecode is taken as it is, whatever a file's time becomes on its way into the image.
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/flyte-admission/bin/python install --no-cache-dir --no-compile --no-deps dist/*.whl \
    && /opt/flyte-admission/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/flyte-admission/lib

# hadolint ignore=DL3006
FROM ${BASE}
# What the base image has pip for is done; and its library comes without bytecode, which nobody could write later.
RUN stdlib=$(python3 -c "import sysconfig; print(sysconfig.get_path('stdlib'))") \
    && rm -rf /usr/local/bin/pip* /usr/local/bin/wheel "$stdlib"/ensurepip "$stdlib"/site-packages/* \
    && python3 -c "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2)" "$stdlib"
LABEL org.opencontainers.image.title="flyte-admission" \
      org.opencontainers.image.description="A Kubernetes admission webhook for the Pods of Flyte tasks" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/flyte-admission /opt/flyte-admission
ENV PATH=/opt/flyte-admission/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What large bodies took goes back to the system at once: glibc would raise these to their size and keep it, and once more
# for each thread.
ENV MALLOC_MMAP_THRESHOLD_=65536
ENV MALLOC_TRIM_THRESHOLD_=65536
ENV MALLOC_ARENA_MAX=1
USER 65532:65532
EXPOSE 8443 8080
CMD ["flyte-admission", "serve"]
