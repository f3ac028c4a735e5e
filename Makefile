# Everything here installs what it needs. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help install dev demo serve test check lint types imports format bench locust fuzz soak isolation providers clients lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## .venv with the gw command, from the hash-locked file
dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.lock pyproject.toml .ci/install
	@PYTHON=$(PYTHON) .ci/install requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml .ci/install
	@PYTHON=$(PYTHON) .ci/install requirements-dev.lock
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed ## the gateway with a simulated model: no key, no server (PORT=8080)
	@exec $(BIN)/gw demo

serve: $(VENV)/.installed ## the gateway with the settings of the environment and .env
	@exec $(BIN)/gw serve

test: dev ## every test
	$(BIN)/pytest -q

check: lint types imports test ## what CI runs: lint, types, import directions, tests

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy
	$(BIN)/pyright

imports: dev
	$(BIN)/lint-imports

format: dev ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: dev ## simulated upstream, nginx and the gateway in one run, as ratios
	$(BIN)/python -m perf.bench

locust: dev ## mixed traffic against a gateway that runs (GATEWAY_URL, GATEWAY_API_KEY)
	$(BIN)/locust -f perf/locustfile.py --headless -u 20 -t 30s

fuzz: dev ## the property tests, fifty times longer
	HYPOTHESIS_PROFILE=long $(BIN)/pytest -q --timeout=3600

soak: dev ## the ledger under faults, against the upstreams' own bills; writes docs/soak.md (ten minutes)
	$(BIN)/python -m perf.soak --database both --write

isolation: dev ## 100 projects, 100,000 requests: does anybody see anything of another? (four minutes)
	$(BIN)/python -m perf.isolation --requests 100000

providers: dev ## the contract of all providers; writes docs/providers.md from the run
	$(BIN)/python -m tests.providers.report

clients: dev ## real programs of npm and PyPI against the gateway; writes the tables of README.md and docs/clients.md
	$(BIN)/python -m tests.clients.report

lock: ## write the lock files again from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --no-annotate --python-version 3.11 \
		--group build --custom-compile-command 'make lock' -q -o requirements.lock
	uv pip compile pyproject.toml --universal --generate-hashes --no-annotate --python-version 3.11 \
		--group dev -c requirements.lock --custom-compile-command 'make lock' -q -o requirements-dev.lock
	for client in aider langchain llm; do \
		uv pip compile tests/clients/locks/$$client.in --universal --generate-hashes --no-annotate \
			--python-version 3.11 --custom-compile-command 'make lock' -q -o tests/clients/locks/$$client.txt; \
	done

clean: ## remove what was built
	rm -rf $(VENV) tests/clients/.installed dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
