# docker build -t appliance .
# docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --network host \
#   -v ./appliance.toml:/etc/appliance/appliance.toml:ro -v appliance-state:/var/lib/appliance appliance
ARG BASE=debian:bookworm-slim

# hadolint ignore=DL3006 # the tag is part of BASE
FROM ${BASE} AS build
# hadolint ignore=DL3008 # security updates must reach the image: Debian stable fixes the versions
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY appliance appliance
RUN python3 -m venv /opt/appliance \
 && /opt/appliance/bin/pip install --no-cache-dir --quiet . \
 && /opt/appliance/bin/pip uninstall --yes --quiet setuptools pip

# hadolint ignore=DL3006 # the tag is part of BASE
FROM ${BASE}
# hadolint ignore=DL3008 # as above
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/appliance --shell /usr/sbin/nologin appliance \
 && install -d -o appliance -g appliance -m 700 /var/lib/appliance
COPY --from=build /opt/appliance /opt/appliance
COPY config/appliance.toml /etc/appliance/appliance.toml
ENV PATH=/opt/appliance/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/appliance
VOLUME /var/lib/appliance
# Healthy means that the worker makes progress, which is also what feeds the watchdog of the systemd unit.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["appliance", "status", "--json"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["appliance"]
CMD ["run", "/etc/appliance/appliance.toml"]
