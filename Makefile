# Everything that is done to this repository, one line of help each: `make` prints them.
# Paths are relative throughout, so that a checkout may lie in a directory with spaces in its name.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BIN := .venv/bin
PY := $(BIN)/python
# -qq: errors alone. Warnings about a machine's own download settings would bury what matters here.
PIP := $(PY) -m pip --disable-pip-version-check --no-input install -qq
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links
NEEDED := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

# A list's or a configuration's path may hold spaces: recipes read them from the environment, quoted.
export LIST CONFIG

# In CI a service that is missing is a failure; on anybody's own machine its tests are skipped with the reason.
ifeq ($(CI),true)
export REQUIRE_SERVICES ?= 1
endif

.PHONY: help install demo run test lint fmt bench trial chaos events month record lock clean

help: ## List what there is (this).
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

install: .venv/.runtime ## Prepare .venv, with the command .venv/bin/onboard.

demo: .venv/.runtime ## Invite 1,000 invented customers; providers and mailbox are played, nothing leaves this machine.
	@$(PY) -m worker.sandbox.demo

run: .venv/.runtime ## Invite your own: make run LIST=customers.csv CONFIG=onboarding.toml
	@if [ -z "$$LIST" ]; then \
		echo "make run: which list? make run LIST=customers.csv CONFIG=onboarding.toml" >&2; exit 2; fi
	@$(BIN)/onboard run "$$LIST" $${CONFIG:+--config "$$CONFIG"}

# Half as many again as there are cores: many tests wait for processes that they have started. Each of those would
# compile all of worker/ where Python is told to keep no bytecode, as in containers: here it is kept.
test: .venv/.dev ## Run all tests; those of a service that is not running say so and are skipped.
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )) --dist loadgroup

lint: .venv/.dev ## Check style, types and the direction of imports.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(PY) -m mypy
	@$(BIN)/lint-imports

fmt: .venv/.dev ## Put the code in its form.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: .venv/.dev ## Measure how fast it is; see benchmarks/.
	@if [ ! -d benchmarks ]; then echo "make bench: this checkout has no benchmarks/" >&2; exit 2; fi
	@$(PY) -m benchmarks

trial: .venv/.dev ## The main job with faults and kills, embedded and under Celery, compared with what was received.
	@$(PY) -m trials.main_job
	@for pool in threads prefork; do for broker in amqp redis; do \
		$(PY) -m trials.main_job --pool $$pool --broker $$broker || exit 1; done; done

chaos: .venv/.dev ## Kill workers, broker and database of a run again and again, check each promise: make chaos RUNS=10 SEED=1
	@$(PY) -m trials.chaos $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(BROKER),--broker $(BROKER)) $(if $(POOL),--pool $(POOL))

events: .venv/.dev ## 20,000 events of other people's clients, duplicates, rubbish and kills: make events BROKER=redis EVENTS=2000
	@for broker in $(or $(BROKER),amqp redis); do \
		$(PY) -m trials.events --broker $$broker $(if $(SEED),--seed $(SEED)) $(if $(EVENTS),--events $(EVENTS)) \
			|| exit 1; done

month: .venv/.dev ## A month of 5,000 customers, the worker's counts against a model's: make month SEED=7 CUSTOMERS=500 DAYS=10
	@$(PY) -m trials.month $(if $(SEED),--seed $(SEED)) $(if $(CUSTOMERS),--customers $(CUSTOMERS)) \
		$(if $(DAYS),--days $(DAYS)) $(if $(DATABASE),--database $(DATABASE))

record: .venv/.dev ## Record the tests' provider answers again, against test credentials where there are any.
	@$(PY) -m tests.providers.record
	@$(PY) -m tests.senders.record

lock: ## Bring both lock files in step with pyproject.toml (needs uv).
	@command -v uv >/dev/null || { echo "make lock: uv is needed, see https://docs.astral.sh/uv/" >&2; exit 2; }
	@$(UV_COMPILE) pyproject.toml --extra build -o requirements.lock
	@$(UV_COMPILE) pyproject.toml --extra build --extra dev -o requirements-dev.lock

clean: ## Remove what these commands have made: .venv, caches, the demo. Never a database, a key or a list.
	@rm -rf .venv demo dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed, as stamps: each is made again when what it was made from has changed.
.venv/.runtime: requirements.lock pyproject.toml .venv/.python
	@echo "installing what is locked into .venv ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	@echo "installing what the tests need into .venv ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# A virtual environment that works is kept. One whose Python has gone, or whose checkout was moved (its commands
# hold the path they were installed under), is made anew.
READY := $(shell test -x $(PY) && test "$$(cat .venv/.python 2>/dev/null)" = "$$(pwd)" && echo yes)
.venv/.python: $(if $(READY),,always)
	@if test -e $@ || ! $(PY) -c "$(NEEDED)" 2>/dev/null; then \
		found=; \
		for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
			if "$$python" -c "$(NEEDED)" 2>/dev/null; then found="$$python"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Python 3.11 or newer is needed, with its venv module (on Debian and Ubuntu: python3-venv)." >&2; \
			echo "$(or $(PYTHON),python3) says: $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1)" >&2; \
			echo "To use another: make PYTHON=/path/to/python3.11" >&2; \
			exit 2; \
		fi; \
		"$$found" -m venv --clear .venv || exit 2; \
	fi
	@pwd > $@

.PHONY: always
always:
