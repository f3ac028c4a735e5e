# The gateway as a small image: installed from the hash-locked file, run by a user without rights.
#   docker build -t claude-gateway .
#   docker run --rm --read-only --tmpfs /tmp -p 8080:8080 -e GATEWAY_API_KEY -e ANTHROPIC_API_KEY claude-gateway
# How it is deployed: docs/deploy.md. How each step is tried without a container engine: tests/deploy.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
# This stage's pip installs into it: what runs needs none.
RUN python -m venv --without-pip /venv
# First what changes rarely: a change of the code leaves this layer cached.
COPY requirements.lock ./
RUN pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gw ./gw
COPY middleware ./middleware
COPY providers ./providers
# The build back-end and the sources of compiled modules have done their work. Byte code is made
# now, because a read-only root leaves no place for it later.
RUN pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
 && pip --python /venv/bin/python uninstall --quiet --yes hatchling editables pathspec pluggy trove-classifiers \
 && find /venv \( -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' \) -delete \
 && /venv/bin/python -m compileall -q /venv/lib

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="claude-gateway" \
      org.opencontainers.image.description="One endpoint for every AI coding client and every model" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 gateway && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin gateway \
 && install -d -o gateway -g gateway -m 700 /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH HOST=0.0.0.0 PORT=8080 DATA_DIR=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A settings file, if there is one, is /srv/.env. Written are the ledger in /data (what has not reached PostgreSQL
# yet; all of it where there is none) and, by several workers, metrics in /tmp. Keep a named volume at /data.
VOLUME /data
WORKDIR /srv
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/live', timeout=2)"]
# SIGTERM drains: running answers get DRAIN_TIMEOUT_SECONDS (30) to finish, so give `docker stop` 45.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gw"]
CMD ["serve"]
