# All commands for this repository. `make` prints one line of help for each.
# All paths are relative, so that the checkout's directory may have spaces in its name.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

# `make pythons` has one for each Python.
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# -qq: only errors. Warnings about the machine's own download settings would hide them. In CI the environment is used
# once: a module is compiled when it is first loaded, and many never are.
INSTALL = -m pip --disable-pip-version-check --no-input install -qq $(if $(filter true,$(CI)),--no-compile)
PIP = $(PY) $(INSTALL)
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links
NEEDED := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

# The path of a list or a configuration may contain spaces: recipes read it from the environment, quoted.
export LIST CONFIG

# In CI, a missing service is a failure. On other machines its tests are skipped with the reason.
ifeq ($(CI),true)
export REQUIRE_SERVICES ?= 1
endif

.PHONY: help install demo run test plain quick lint fmt docs compiled bench trial chaos simulate imports pythons without containers fuzz newest record screenshots images secrets sbom audit manifests lock clean

help: ## List these commands.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

install: $(VENV)/.runtime ## Prepare .venv, with the command .venv/bin/onboard.

demo: $(VENV)/.runtime ## Invite 1,000 invented customers, nothing leaves this machine; through Celery: make demo BROKER=amqp
	@$(BIN)/onboard demo $(if $(BROKER),--broker "$(BROKER)") $(if $(DATABASE),--database "$(DATABASE)")

run: $(VENV)/.runtime ## Invite your own customers: make run LIST=customers.csv CONFIG=onboarding.toml
	@if [ -z "$$LIST" ]; then \
		echo "make run: LIST is missing: make run LIST=customers.csv CONFIG=onboarding.toml" >&2; exit 2; fi
	@$(BIN)/onboard run "$$LIST" $${CONFIG:+--config "$$CONFIG"}

# Two test processes for each core, because many tests wait for processes that they have started.
# tests/suite/order.py says which tests come first.
test: $(VENV)/.dev ## Run all tests, or those of a part: make test FLOOR=core (or edges, features), make test FEATURE=bounces
	@$(PY) -m pytest -n $$(( $$(getconf _NPROCESSORS_ONLN) * 2 )) --dist loadscope $(PART)
OF_core := tests/core
OF_edges := $(wildcard $(patsubst worker/%/,tests/%/,$(filter-out worker/core/ worker/features/,$(wildcard worker/*/))))
OF_features := tests/features
PART = $(if $(FEATURE),tests/features/$(FEATURE),$(if $(FLOOR),$(or $(OF_$(FLOOR)),$(error FLOOR is core, edges or features))))

# The rules of each room: the tests in its own folder, not those of statements (`store/`) or of whole histories
# (`simulated/`), and not those that compute or wait for seconds. Two of those are here all the same: permits, an import.
# A property is tried with few examples, and with more by `make test`.
SLOW := $(addprefix tests/,core/foundation/test_manifests.py core/test_names.py core/database/test_at_rest.py \
	core/database/test_bounded_connection.py core/database/test_database.py core/database/test_lock_order.py \
	core/database/test_migrations.py core/database/test_migrations_cut_off.py core/database/test_upgrading.py \
	core/rules/test_bursts.py core/rules/test_rate_adaptation.py lists/test_csv_reading.py lists/test_demo_list.py \
	lists/test_bad_input.py lists/test_whole_lists.py lists/test_written_numbers.py \
	core/database/test_on_loop.py reporting/test_html_report.py \
	reporting/test_report_in_a_browser.py reporting/test_xlsx_report.py templates/test_answer_values.py \
	templates/test_own_templates.py)
QUICK := $(filter-out $(SLOW),$(wildcard $(addsuffix /test_*.py,tests/core \
	$(addprefix tests/core/,database dispatch foundation model rules) tests/events \
	tests/http tests/lists tests/plans tests/reporting tests/templates))) \
	tests/core/claim/test_concurrency.py tests/core/messages/test_next_reminder.py tests/core/upkeep/test_taker.py \
	tests/lists/importing/test_list_import.py tests/providers/test_provider_contract.py \
	tests/senders/test_sender_contract.py tests/settings/test_loading.py tests/settings/test_rules.py \
	tests/settings/test_values.py tests/runtime/process tests/web/test_webhooks.py
quick: $(VENV)/.dev ## Run the tests of each room's rules, on SQLite alone: a part of `make test`, in half a minute.
	@EXAMPLES=$(or $(EXAMPLES),5) $(PY) -m pytest -q -n $$(getconf _NPROCESSORS_ONLN) --dist loadscope \
		-k "not postgresql" $(QUICK)

# Each fast twin of `core/database/fast` has a plain form, which does the same.
plain: $(VENV)/.dev ## Run the tests of the database and of the work in their plain forms, without the fast ones.
	@ONBOARDING_PLAIN=all $(PY) -m pytest -q -n $$(( $$(getconf _NPROCESSORS_ONLN) * 2 )) --dist loadscope tests/core/database tests/core/work

lint: $(VENV)/.dev ## Check style, types, the direction of imports and the shell scripts.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(PY) -m mypy
	@$(BIN)/lint-imports
	@$(BIN)/shellcheck deploy/make_secrets deploy/pin_images .ci/run

docs: $(VENV)/.dev ## Build the pages as a site in dist/docs; a broken link fails.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "wrote dist/docs/index.html"

# pytest compiles each file of tests when it first loads it. Test processes that begin at once would each compile all.
compiled: $(VENV)/.dev ## Compile the tests; a file of tests that cannot be loaded fails.
	@said=$$($(PY) -m pytest --collect-only -qq 2>&1) || { echo "$$said" | tail -n 60; exit 1; }

fmt: $(VENV)/.dev ## Format the code.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

RIVALS := benchmarks/rivals
RIVAL_LOCKS := $(wildcard $(RIVALS)/requirements-*.lock)
bench: $(VENV)/.dev $(RIVAL_LOCKS:$(RIVALS)/requirements-%.lock=$(RIVALS)/.venv-%/.done) ## Measure how fast the worker is; see benchmarks/.
	@if [ ! -d benchmarks ]; then echo "make bench: this checkout has no benchmarks/" >&2; exit 2; fi
	@$(PY) -m benchmarks

# The other task queues that are measured beside the worker. arq needs an older Redis client than the others.
$(RIVALS)/.venv-%/.done: $(RIVALS)/requirements-%.lock $(VENV)/.python
	@echo "installing $< for the benchmarks ..."
	@$(PY) -m venv --clear $(@D)
	@$(@D)/bin/python $(INSTALL) --require-hashes -r $<
	@touch $@

trial: $(VENV)/.dev ## Run the main job with faults and kills, embedded and under Celery, and the long tests.
	@$(PY) -m trials.main_job
	@for pool in threads prefork; do for broker in amqp redis; do \
		$(PY) -m trials.main_job --pool $$pool --broker $$broker || exit 1; done; done
	@$(PY) -m pytest -m long

chaos: $(VENV)/.dev ## Kill workers, broker and database again and again, and check every promise: make chaos RUNS=10 SEED=1
	@$(PY) -m trials.chaos $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(BROKER),--broker $(BROKER)) $(if $(POOL),--pool $(POOL))

simulate: $(VENV)/.dev ## Play simulated histories of the engine, each from a seed: make simulate SEEDS=5000 FROM=0, or SEED=7
	@$(PY) -m trials.simulation $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FROM),--from $(FROM)) \
		$(if $(WITHOUT),--without $(WITHOUT)) $(if $(JOBS),--jobs $(JOBS))

without: $(VENV)/.dev ## Try a copy without a feature, or without all: make without FEATURE=all
	@PYTHONDONTWRITEBYTECODE= $(PY) -m trials.without "$(FEATURE)" $(if $(SHORT),--short) $(if $(TESTS),--tests $(TESTS))

containers: $(VENV)/.dev ## Play the page of Docker Compose in real containers (root, podman, debootstrap): make containers BROKER=redis STEPS=kills
	@$(PY) -m trials.containers $(if $(BROKER),--broker $(BROKER)) $(if $(STEPS),--steps $(STEPS)) $(if $(DEBIAN),--debian $(DEBIAN)) $(if $(FORGET),--forget)

OLDEST := 3.11
BETWEEN := 3.12 3.13
NEWEST := 3.14
imports: $(VENV)/.dev ## Import every module with each Python that is here, from the oldest to the newest that the project supports.
	@for version in $(OLDEST) $(BETWEEN) $(NEWEST); do \
		if ! python$$version -c "$(NEEDED)" 2>/dev/null; then \
			echo "NOT TRIED: Python $$version, which is not on this machine"; continue; fi; \
		venv=.venv-$$version; [ "$$($(PY) --version | cut -d. -f1,2)" != "Python $$version" ] || venv=$(VENV); \
		$(MAKE) --no-print-directory VENV=$$venv PYTHON=python$$version imported || exit 1; \
		echo "Python $$version imports every module"; done
.PHONY: imported
imported: $(VENV)/.dev
	@$(PY) -m pytest -q tests/deploy/test_imports.py

pythons: ## Try the oldest and the newest Python whole, and those between them in part; the first two must be here.
	@for version in $(OLDEST) $(NEWEST); do \
		python$$version -c "$(NEEDED)" 2>/dev/null || { \
			echo "make pythons: python$$version is missing, or its venv module" >&2; exit 2; }; done
	@for version in $(OLDEST) $(NEWEST) $(BETWEEN); do \
		case " $(BETWEEN) " in *" $$version "*) what="demo quick" ;; *) what="demo lint test" ;; esac; \
		if python$$version -c "$(NEEDED)" 2>/dev/null; then \
			echo "Python $$version: $$what"; \
			$(MAKE) --no-print-directory VENV=.venv-$$version PYTHON=python$$version $$what || exit 1; \
		else echo "NOT TRIED: Python $$version, which is not on this machine"; fi; done

fuzz: $(VENV)/.dev ## Send the web requests made from its OpenAPI document: make fuzz EXAMPLES=5000
	@EXAMPLES=$(or $(EXAMPLES),1000) $(PY) -m pytest tests/hostile/test_openapi.py

# Besides the rules: PostgreSQL, brokers, mail, workbooks, Parquet files, traces, the storage of others.
OTHERS := core/database/test_database.py events/bus/test_consuming.py events/bus/test_tasks.py senders/email \
	features/spreadsheets/test_workbooks.py features/spreadsheets/test_parquet.py features/traces \
	features/list_sources/test_remote_lists.py
NEWER := .venv-newest/newer.txt
newest: $(VENV)/.dev ## Run the rules, and what talks to others, with the newest packages that pyproject.toml allows.
	@rm -rf .venv-newest && mkdir .venv-newest
	@$(PY) deploy/newest.py > $(NEWER)
	@if ! [ -s $(NEWER) ]; then echo "the locks have the newest of all: make test tries it"; exit; fi; \
	cat $(NEWER) && $(PIP) --no-deps --target .venv-newest -r $(NEWER) && \
	EXAMPLES=5 PYTHONPATH="$(CURDIR)/.venv-newest" $(PY) -m pytest -q -n $$(getconf _NPROCESSORS_ONLN) --dist loadscope \
		-k "not postgresql or test_database or bus" $(QUICK) $(wildcard $(addprefix tests/,$(OTHERS)))

record: $(VENV)/.dev ## Record the tests' provider answers again; with test credentials, from the providers themselves.
	@$(PY) -m tests.providers.record
	@$(PY) -m tests.senders.record

screenshots: $(VENV)/.dev ## Take the pictures of the pages again, from the sandbox (needs chromium).
	@$(PY) -m tests.features.dashboard.screenshots docs/pictures

images: ## Write the images of docker-compose.yml into .env, each with its digest (needs docker with buildx).
	@deploy/pin_images

secrets: ## Write passwords and keys for docker-compose.yml into secrets/; what is there is kept.
	@deploy/make_secrets

sbom: .venv-audit/.done ## Write what production installs, its lock and what the wheel holds, as CycloneDX into dist/sbom.json.
	@mkdir -p dist
	@PYTHONWARNINGS=ignore .venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		-o dist/sbom.json requirements.lock
	@$(PY) deploy/add_bundled.py dist/sbom.json
	@echo "wrote dist/sbom.json"

audit: .venv-audit/.done ## Ask whether a package of production has a known weakness; fails where the index does not say.
	@$(PY) deploy/audit_lock.py requirements.lock --pip-audit .venv-audit/bin/pip-audit $(if $(MAY_SKIP),--may-skip)

manifests: .venv-audit/.done ## Check the Kubernetes example against the schemas of Kubernetes.
	@.venv-audit/bin/kubernetes-validate --strict deploy/kubernetes/*.yaml

# The tools of these three, apart from ours: they need other releases of the same packages.
.venv-audit/.done: deploy/audit.lock $(VENV)/.python
	@echo "installing $< ..."
	@$(PY) -m venv --clear $(@D)
	@$(@D)/bin/python $(INSTALL) --require-hashes -r $<
	@touch $@

lock: ## Update the lock files from pyproject.toml, and those of the benchmarks (needs uv).
	@command -v uv >/dev/null || { echo "make lock: uv is needed, see https://docs.astral.sh/uv/" >&2; exit 2; }
	@$(UV_COMPILE) pyproject.toml -o requirements.lock
	@$(UV_COMPILE) --group build --constraint requirements.lock -o requirements-build.lock
	@$(UV_COMPILE) pyproject.toml --group build --extra sandbox -o requirements-sandbox.lock
	@$(UV_COMPILE) pyproject.toml --group build --group dev --extra sandbox --extra otel -o requirements-dev.lock
	@$(UV_COMPILE) deploy/audit.in -o deploy/audit.lock
	@for which in most arq; do \
		$(UV_COMPILE) $(RIVALS)/requirements-$$which.in -o $(RIVALS)/requirements-$$which.lock || exit 1; done

clean: ## Remove what these commands created: .venv, caches, the demo. Never a database, a key or a list.
	@rm -rf .venv .venv-* $(RIVALS)/.venv-* demo dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files of the installations: each is made again when its sources have changed.
$(VENV)/.runtime: requirements-sandbox.lock pyproject.toml $(VENV)/.python
	@echo "installing the locked packages into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements-sandbox.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "installing the packages of the tests into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# A working virtual environment is kept. It is created again if its Python is gone or the checkout was moved (its
# commands contain the path of their installation).
READY := $(shell test -x $(PY) && test "$$(cat $(VENV)/.python 2>/dev/null)" = "$$(pwd)" && echo yes)
$(VENV)/.python: $(if $(READY),,always)
	@if test -e $@ || ! $(PY) -c "$(NEEDED)" 2>/dev/null; then \
		found=; \
		for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
			if "$$python" -c "$(NEEDED)" 2>/dev/null; then found="$$python"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Python 3.11 or newer is needed, with its venv module (on Debian and Ubuntu: python3-venv)." >&2; \
			echo "$(or $(PYTHON),python3) says: $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1)" >&2; \
			echo "To use another Python: make PYTHON=/path/to/python3.11" >&2; \
			exit 2; \
		fi; \
		"$$found" -m venv --clear $(VENV) || exit 2; \
	fi
	@pwd > $@

.PHONY: always
always:
