# Every target sets up what it needs; `make` alone explains them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TEST_WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --require-hashes
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
LINTER := scripts/lint/node_modules/.package-lock.json

.PHONY: help
help: ## Say what can be made
	@awk 'BEGIN {FS = ":.*## "; print "Entasis Engine\n"} /^[a-z][a-z-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements/runtime.txt requirements/build.txt requirements/pages.txt pyproject.toml | $(BIN)/python
	@echo "Installing Entasis Engine into $(VENV) …"
	@$(PIP_INSTALL) -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP_INSTALL) --no-deps -r requirements/pages.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "Installing the development tools into $(VENV) …"
	@$(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

.PHONY: setup
setup: $(RUNTIME) ## Install what running needs into .venv

.PHONY: setup-extras
setup-extras: $(RUNTIME) ## Install what the live feed (ccxt) needs, too
	@$(PIP_INSTALL) -r requirements/extras.txt

.PHONY: setup-dev
setup-dev: $(DEV) ## Install what developing and testing need into .venv

.PHONY: run
run: $(RUNTIME) ## Start everything: engine, WebSocket bridge and Envoy, on a simulated exchange
	@exec $(BIN)/entasis up

.PHONY: test
test: $(DEV) ## Run all tests, two files at a time (TEST_WORKERS=4 for more; those that need a browser or real data say so where it is absent)
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-clients
test-clients: $(DEV) ## Build the client programs in Python, TypeScript, Go and Java, and run them against an engine
	@$(BIN)/python -m pytest tests/e2e/test_clients.py $(PYTEST_ARGS)

.PHONY: test-fuzz
test-fuzz: $(DEV) ## Ask the API 10,000 generated requests, valid and not, through Envoy (about seven minutes)
	@ENTASIS_SCHEMATHESIS_EXAMPLES=10000 $(BIN)/python -m pytest tests/e2e/test_schemathesis.py -s $(PYTEST_ARGS)

.PHONY: test-crash
test-crash: $(DEV) ## Kill the engine 50 times in mid-feed and count what is lost (about two minutes)
	@ENTASIS_CRASHES=50 $(BIN)/python -m pytest tests/e2e/test_crash.py -s $(PYTEST_ARGS)

.PHONY: test-streams
test-streams: $(DEV) ## Kill the engine 15 times and cut connections 100 times under a Python client's streams (about five minutes)
	@ENTASIS_CLIENT_KILLS=15 ENTASIS_CLIENT_CUTS=100 $(BIN)/python -m pytest tests/e2e/test_client.py -s $(PYTEST_ARGS)

.PHONY: test-ledger
test-ledger: $(DEV) ## Load the ledger, cut its replies and kill it, at full size on both databases (about 40 minutes)
	@ENTASIS_LEDGER_CALLS=100000 ENTASIS_LEDGER_KEYS=20000 ENTASIS_LEDGER_KILLS=200 ENTASIS_LEDGER_SERVING_SECONDS=2 \
		ENTASIS_LEDGER_STEPS=1000000 $(BIN)/python -m pytest tests/unit/portfolio/test_ledger_model.py \
		tests/e2e/test_ledger_load.py tests/e2e/test_ledger_keys.py tests/e2e/test_ledger_kills.py -s $(PYTEST_ARGS)

.PHONY: bench
bench: $(DEV) ## Measure CPU per call and per message beside named peers, in one run (about four minutes)
	@$(BIN)/python -m scripts.bench $(BENCH_ARGS)

.PHONY: screenshots
screenshots: $(DEV) ## Take the pictures of the console and of Swagger UI anew (about two minutes)
	@$(BIN)/python -m scripts.screenshots

.PHONY: evaluate
evaluate: $(DEV) ## Measure forecasts and risk walk-forward on real candles, and write docs/evaluation
	@$(BIN)/python -m scripts.evaluation $(EVALUATE_ARGS)

$(LINTER): scripts/lint/package-lock.json
	@npm ci --silent --prefix scripts/lint
	@touch $@

.PHONY: lint
lint: $(DEV) ## Check style, types, import rules, the contract, the API documents and the generated pages
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if command -v go >/dev/null; then \
		$(BIN)/python -m scripts.generate --protos && $(BIN)/buf lint && $(BIN)/buf format --diff --exit-code proto; \
	else echo "buf lint: skipped, since go, which fetches a proto that ours import, is not installed"; fi
	@if command -v npm >/dev/null; then \
		$(MAKE) --no-print-directory $(LINTER) && REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		scripts/lint/node_modules/.bin/redocly lint --config scripts/lint/redocly.yaml openapi asyncapi; \
	else echo "OpenAPI and AsyncAPI: not linted, since npm, which installs the linter, is not installed"; fi
	@$(BIN)/python scripts/breaking.py
	@$(BIN)/python scripts/document.py --check

.PHONY: format
format: $(DEV) ## Bring the code into shape
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/buf format -w proto

.PHONY: gen
gen: $(DEV) ## Write gen/ from proto/ (needs go, npm and mvn, for the generators of other languages)
	@$(BIN)/python -m scripts.generate

.PHONY: docs
docs: $(DEV) ## Write the pages of docs/ that are read off the code
	@$(BIN)/python scripts/document.py

.PHONY: gen-check
gen-check: $(DEV) ## Fail where gen/ is not what proto/ says
	@$(BIN)/python -m scripts.generate --check

.PHONY: lock
lock: $(DEV) ## Pin every dependency anew, by version and hash
	@compile="$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate"; \
	$$compile --upgrade pyproject.toml --all-extras --group dev -o requirements/dev.txt && \
	$$compile pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt && \
	$$compile pyproject.toml --all-extras -c requirements/dev.txt -o requirements/extras.txt && \
	$$compile --upgrade --group pages --no-deps -o requirements/pages.txt && \
	printf 'editables\nhatchling\n' | $$compile -c requirements/dev.txt - -o requirements/build.txt

.PHONY: clean
clean: ## Remove .venv, build/ and caches (not entasis-data/)
	@rm -rf $(VENV) build dist scripts/*/node_modules scripts/contract/*/node_modules tests/stubs/typescript/{node_modules,dist} gen/java/target .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
