# One line of help per target: `make`. Tools are found on PATH or built once into the user's cache; everything else lives in .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
BIN := .venv/bin
RUNNING := .venv/.running
COMPLETE := .venv/.installed
WORKERS ?= 6
NATIVE := PYTHONSAFEPATH=1 PYTHONPATH=.native:.
COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet

.PHONY: help setup tools up down status test check format render validate terraform-check plan deploy rollback scale bench bench-autoscaler simulate gate native gate-native test-native wheel soak chaos fuzz lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(COMPLETE) ## create .venv with everything: what a running system needs, and what tests and linters need

$(RUNNING): requirements-run.lock pyproject.toml
	@$(PYTHON) tools/check_python.py
	@$(PYTHON) tools/set_up.py running

$(COMPLETE): requirements.lock $(RUNNING)
	@$(PYTHON) tools/set_up.py everything

tools: $(RUNNING) ## build Nomad and Consul where they are not installed (about 15 minutes, once)
	@$(BIN)/python -m fleet.local.build

up: $(RUNNING) ## start the whole system on this machine and chat with it once
	@$(BIN)/warmfleet up

down: $(RUNNING) ## stop it and remove what it kept
	@$(BIN)/warmfleet down

status: $(RUNNING) ## what is up, and where
	@$(BIN)/warmfleet status || test $$? -eq 3

test: export PYTHONDONTWRITEBYTECODE := # tests start hundreds of programs; without it, each would compile all of ours
test: setup tools ## all tests, against real Nomad, Consul, Redis and engines (WORKERS=6 at a time)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=15 --durations-min=5

check: setup ## linters, types, layers, the fleet description, generated documentation
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/warmfleet check
	$(BIN)/warmfleet docs --check && $(BIN)/warmfleet boards --check

format: setup ## let ruff format everything
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

render: $(RUNNING) ## write jobs/*.nomad.hcl from jobs/fleet.toml
	@$(BIN)/warmfleet render

validate: $(RUNNING) ## ask Nomad whether it would take the rendered jobs
	@$(BIN)/warmfleet validate

terraform-check: setup ## terraform fmt, validate and test on terraform/ (needs terraform and Go; providers are stood in for)
	@$(BIN)/python tools/terraform/check.py

plan: $(RUNNING) ## what deploy would change, in the local system while it is up, else in the fleet (JOBS="..." for some)
	@$(BIN)/warmfleet plan $(JOBS) || test $$? -eq 1

deploy: $(RUNNING) ## bring the jobs to what the description says, warm before they get traffic (JOBS="..." for some)
	@$(BIN)/warmfleet deploy $(JOBS)

rollback: $(RUNNING) ## go back to an earlier version of a job, warm before traffic: JOB=small-model [VERSION=3]
	@test -n "$(JOB)" || { echo "say which: make rollback JOB=small-model, and VERSION=3 for a certain one" >&2; exit 2; }
	@$(BIN)/warmfleet rollback $(JOB) $(VERSION)

scale: $(RUNNING) ## set a model's replicas by hand, and wait until they are warm: MODEL=small-model COUNT=2
	@test -n "$(MODEL)" -a -n "$(COUNT)" || { echo "say which and how many: make scale MODEL=small-model COUNT=2" >&2; exit 2; }
	@$(BIN)/warmfleet scale $(MODEL) $(COUNT)

bench: setup tools ## the router beside Envoy and vllm-router: CPU and memory, about 12 minutes on a quiet machine
	$(BIN)/python -m bench.router

gate: setup ## what the router's own Python costs, as a gate that other load does not move
	$(BIN)/python -m bench.router.micro

native: setup ## compile what every request goes through, into .native (needs a C compiler; about a minute)
	@$(BIN)/python tools/native.py

gate-native: native ## the same gate for the compiled modules
	$(NATIVE) $(BIN)/python -m bench.router.micro

test-native: native tools ## the router's tests once more, on the compiled modules
	$(NATIVE) $(BIN)/pytest tests/router -n $(WORKERS) --dist loadfile -o pythonpath=".native ." -p no:cacheprovider

wheel: setup ## the distribution for your nodes or image, with compiled modules, into dist/
	HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .

soak: setup tools ## 10 minutes of traffic through a router whose replicas come, go and break
	$(BIN)/python -m bench.router.soak

chaos: setup tools ## kill -9 of every part in every order while clients stream (MINUTES=90 at most)
	$(BIN)/python -m tests.journeys.chaos --minutes $(or $(MINUTES),90)

fuzz: setup ## look for bytes that break the router's readers (SECONDS=60)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

bench-autoscaler: setup ## replica-hours against late requests, forecaster and baselines on four traces (about 10 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.forecast.frontier

simulate: setup ## what scaling would have done: TRACE=file.csv [PEAK=20]
	@test -n "$(TRACE)" || { echo "say which: make simulate TRACE=bench/traces/nasa1995_jul_1min.csv, or a CSV of minute,requests of yours" >&2; exit 2; }
	$(BIN)/warmfleet simulate --trace "$(TRACE)" --peak-replicas $(or $(PEAK),20) --compare target

lock: ## resolve pyproject.toml anew into requirements.lock, and what a running system needs of it into requirements-run.lock (needs uv)
	$(COMPILE) --all-extras -o requirements.lock
	$(COMPILE) --extra local --extra checkout -c requirements.lock -o requirements-run.lock

clean: ## remove .venv and caches in the checkout; a running system must be down first
	@test ! -e .warmfleet || { echo "the system is up: run make down first" >&2; exit 1; }
	rm -rf .venv .native .native-* dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
