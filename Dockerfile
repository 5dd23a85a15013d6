# The service of the full_stack example, and the MLflow server beside it.
#
#   docker build -t pmmds .
#   docker run --rm -p 127.0.0.1:8000:8000 -v pmmds:/var/lib/pmmds -e PMMDS_ADMIN_TOKEN pmmds
#
# docker-compose.yml puts the two and PostgreSQL together. Nothing secret is in an image: tokens and
# URLs come from the environment.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# What .dockerignore lets through: Cargo wants every target that the manifest names.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --example full_stack \
    && cp target/release/examples/full_stack /usr/local/bin/full_stack

# The version that the tests run with.
FROM python:3.11-slim-bookworm AS mlflow
COPY tests/python/mlflow.txt /tmp/mlflow.txt
RUN pip install --no-cache-dir "$(grep '^mlflow==' /tmp/mlflow.txt)" \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin mlflow \
    && install -d -o mlflow -g mlflow /var/lib/mlflow
USER mlflow
WORKDIR /var/lib/mlflow
ENV HOME=/var/lib/mlflow MLFLOW_DISABLE_TELEMETRY=true
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", \
    "--backend-store-uri", "sqlite:////var/lib/mlflow/mlflow.db", \
    "--artifacts-destination", "/var/lib/mlflow/artifacts"]

FROM debian:bookworm-slim AS service
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin pmmds \
    && install -d -o pmmds -g pmmds /var/lib/pmmds
COPY --from=build /usr/local/bin/full_stack /usr/local/bin/full_stack
USER pmmds
# The state folder is .pmmds in here.
WORKDIR /var/lib/pmmds
VOLUME /var/lib/pmmds
# An address that others reach takes an admin token: without one the service does not start.
ENV PMMDS_API_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD curl --fail --silent --output /dev/null "http://127.0.0.1:${PMMDS_API_PORT:-8000}/livez"
ENTRYPOINT ["full_stack"]
CMD ["serve"]
