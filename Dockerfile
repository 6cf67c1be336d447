# The tower as compose.yaml runs it. The lock's hashes are checked as its files are fetched; what is installed of them
# is the tower's own part, without the tools of the developers.

FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock .
RUN pip download --quiet --require-hashes --only-binary=:all: --dest /wheels --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY domain domain
COPY handlers handlers
COPY projections projections
COPY adapters adapters
RUN python -m venv /opt/agenttower \
 && /opt/agenttower/bin/pip install --quiet --no-index --find-links /wheels .

FROM python:3.11-slim
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends tmux \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 tower \
 && install -d -o tower -g tower -m 700 /var/lib/agenttower
COPY --from=build /opt/agenttower /opt/agenttower
ENV PATH=/opt/agenttower/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8 \
    AGENTTOWER_HOME=/var/lib/agenttower \
    AGENTTOWER_HTTP=0.0.0.0:7700
USER tower
WORKDIR /home/tower
VOLUME /var/lib/agenttower
EXPOSE 7700
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7700/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["agenttower", "up"]
