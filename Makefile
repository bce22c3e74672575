# Everything starts from a bare Python: uv and all packages are installed by the first command that needs them.

.DEFAULT_GOAL := help
.PHONY: help up test test-all test-faults evals screenshots lint audit sbom bench profile images k8s-secrets redis-users packages packages-up
SHELL := /bin/bash

# By its name where it is on the PATH: to make, a folder with a space in its name is two.
UV := $(if $(shell command -v uv 2>/dev/null),uv,.uv/bin/uv)
OWN_UV := $(filter .uv/bin/uv,$(UV))
RUN := .venv/bin/python
PYTEST := $(RUN) -m pytest
DOCKER ?= docker
VERSION ?= 0.1.0
SBOM ?= sbom
SECRETS := k8s/secrets/secrets.env
PASSWORDS := $(addprefix REDIS_PASSWORD_,GATEWAY OPERATOR RUNNER READER)

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: packages-up ## the whole fleet on this machine: GATEWAY_PORT, REDIS_URL, BOT, RUNNER_SLOTS and COLD_MAX are obeyed
	@$(RUN) -m up

test: packages ## the tests; ARGS="-k name" for some of them
	@$(PYTEST) -n 3 -m "not slow" $(ARGS)

test-all: packages ## the slow tests too
	@$(PYTEST) -n 3 $(ARGS)

test-faults: packages ## the fault bench, whole; FAULT_SEED and FAULT_SECONDS are for its random run
	@$(PYTEST) -n 2 tests/faults $(ARGS)

evals: packages ## how the assistant behaves: the scenarios of tests/evals
	@$(PYTEST) tests/evals $(ARGS)

screenshots: packages ## the console's pictures in the README, after SCREENSHOT_S seconds of load
	@SCREENSHOT_S=$${SCREENSHOT_S:-400} $(PYTEST) tests/test_console_looks.py

lint: packages ## style, types, and who may import whom
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: $(OWN_UV) ## the benchmarks, and their figures in the README; ARGS="-k launch" for some of them, which are only shown
	@$(UV) sync --frozen --quiet --group bench
	@BENCH=full $(PYTEST) tests/bench -s $(ARGS)

audit: $(OWN_UV) ## known vulnerabilities of what the lock file pins; UNREACHED=ok goes on where the database cannot be asked
	@$(UV) audit --frozen --preview-features audit-command $(ARGS); status=$$?; \
	if [ $$status = 2 ] && [ '$(UNREACHED)' = ok ]; then echo 'Not audited: see above.' >&2; else exit $$status; fi

sbom: $(OWN_UV) ## what is in each image, as CycloneDX, into SBOM=sbom
	@mkdir -p $(SBOM) && for service in gateway operator runner; do \
	  $(UV) export --frozen --quiet --no-default-groups --package pipefleet-$$service \
	    --format cyclonedx1.5 --preview-features sbom-export -o $(SBOM)/pipefleet-$$service.cdx.json >/dev/null || exit; \
	done && ls $(SBOM)/*

profile: packages ## where the time of a start goes: docs/performance/imports.txt
	@$(RUN) -m tests.bench.imports

images: ## the three images, with docker or what DOCKER says; VERSION is their tag
	@for service in gateway operator runner; do \
	  $(DOCKER) build -f services/$$service/Dockerfile -t pipefleet-$$service:$(VERSION) . || exit; \
	done

# A file from before keeps what it has: with PAYLOAD_KEYS, sessions would come to runners that do not have them yet.
k8s-secrets: ## passwords and keys for a cluster, as far as there are none
	@umask 077 && { [ -e $(SECRETS) ] || echo "PAYLOAD_KEYS=$$(head -c 32 /dev/urandom | base64)" >$(SECRETS); } && \
	for name in $(PASSWORDS) JOIN_KEYS ADMIN_KEYS TURN_SECRET; do \
	  grep -q "^$$name=" $(SECRETS) || echo "$$name=$$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')"; \
	done >>$(SECRETS) && echo 'The keys are in $(SECRETS): keep it, and keep it to yourself.'

redis-users: ## the users for a Redis of your own, with the passwords of k8s-secrets
	@env -u REDISCLI_AUTH $$(grep '^REDIS_PASSWORD_' $(SECRETS)) sh k8s/redis/users.sh | grep -v '^user default '

packages: $(OWN_UV)
	@$(UV) sync --frozen --quiet

packages-up: $(OWN_UV)
	@$(UV) sync --frozen --quiet --inexact --no-default-groups --group up

.uv/bin/uv: requirements-uv.txt
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && break; \
	  python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'Python 3.11, 3.12, 3.13 or 3.14 is needed, and none of them is on the PATH.' >&2; exit 1; \
	elif ! $$python -c 'import ensurepip' 2>/dev/null; then \
	  echo "$$python cannot make virtual environments. On Debian: apt install $$($$python -c \
	    'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; \
	fi; \
	rm -rf .uv && $$python -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements-uv.txt
