# syntax=docker/dockerfile:1
ARG ENGINE=0

FROM python:3.11-slim AS build
WORKDIR /app
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
COPY requirements.lock Makefile ./
RUN make install PYTHON=python3
COPY . .
RUN make frontend && rm -rf frontend/node_modules

# ENGINE=1 adds vLLM and kvcached, in an environment of their own.
FROM python:3.11-slim AS engine-0
RUN mkdir -p /app/.venv-vllm
FROM python:3.11-slim AS engine-1
COPY pyproject.toml /tmp/engine/
RUN python -m venv /app/.venv-vllm && python - <<'PICK' > /tmp/engine/wanted && \
    /app/.venv-vllm/bin/pip install --no-cache-dir -r /tmp/engine/wanted
import tomllib
print(*tomllib.load(open("/tmp/engine/pyproject.toml", "rb"))["project"]["optional-dependencies"]["engine"], sep="\n")
PICK

FROM engine-${ENGINE} AS engine

FROM python:3.11-slim
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=sardeenz.settings SARDEENZ_DATA_DIR=/data SARDEENZ_MODELS_DIR=/models
RUN useradd --create-home --uid 10001 sardeenz && install -d -o sardeenz -g sardeenz /data /models
COPY --from=build /app /app
COPY --from=engine /app/.venv-vllm /app/.venv-vllm
WORKDIR /app
USER sardeenz
VOLUME ["/data", "/models"]
EXPOSE 8000 8001
CMD ["python", "-m", "sardeenz.cli.main", "up"]
