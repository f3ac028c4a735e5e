# The gateway as a small image: installed from the hash-locked file, run by a user without rights.
#   docker build -t claude-gateway . && docker run --rm -p 8080:8080 -e GATEWAY_API_KEY -e ANTHROPIC_API_KEY claude-gateway
# The tests check each step of this file as far as that is possible without a container engine
# (tests/deploy/test_dockerfile.py).
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /venv
# First what changes rarely: a change of the code leaves this layer cached.
COPY requirements.lock ./
RUN /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gw ./gw
COPY middleware ./middleware
COPY providers ./providers
RUN /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .
RUN /venv/bin/python -m compileall -q /venv/lib

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH HOST=0.0.0.0 PORT=8080 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/live', timeout=2)"]
# SIGTERM drains: running answers get DRAIN_TIMEOUT_SECONDS (30) to finish.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gw"]
CMD ["serve"]
