# One command for everybody: `make help` lists them. Needs make and Python 3.11 or newer; the rest it installs itself.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
SERVERS := mosquitto mosquitto_passwd mosquitto_pub influxd nginx openssl setpriv systemd-analyze

# The first Python that runs and is new enough: a pyenv shim may be on the path and refuse to run.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 /usr/bin/python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
export PYTHON

.DEFAULT_GOAL := help
# Two package managers at once would wait for each other's lock.
.NOTPARALLEL:
.PHONY: help setup packages demo test evaluate prior faults check clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: packages $(VENV)/.for-tests ## Install everything that tests and development need

demo: $(VENV)/.for-running ## Run the appliance on simulated machines; of the servers it needs only the broker
	@scripts/install-debian.sh mosquitto
	$(BIN)/appliance demo

test: check ## Everything that must pass: the checks, then the tests
	@echo "== tests"
	@$(BIN)/pytest -n 2 --dist loadfile

evaluate: folders $(VENV)/.for-evaluating ## Measure detection on recordings: make evaluate DATA=recordings OUT=out/evaluation
	$(BIN)/appliance evaluate --data $(DATA) --out $(OUT) $(OPTIONS)

prior: folders $(VENV)/.for-evaluating ## Train anew what comes with the software: make prior DATA=recordings OUT=out/prior
	for method in maml reptile leo learned_optimizer; do \
		$(BIN)/appliance meta-train --data $(DATA) --most 8 --method $$method --out $(OUT)/$$method.safetensors || exit; done
	test -e $(OUT)/key.pem || $(BIN)/appliance bundle keygen $(OUT)/key.pem
	echo '{"name": "general", "version": 1, "datasets": [], "metrics": {}}' > $(OUT)/about.json
	$(BIN)/appliance bundle pack appliance/bundle/shipped.bundle --about $(OUT)/about.json --key $(OUT)/key.pem \
		$(foreach method,maml reptile leo learned_optimizer,--adapter $(OUT)/$(method).safetensors)

faults: setup ## The long fault suite: hundreds of kills and flaps, some minutes
	@$(BIN)/pytest tests/faults -m slow

check: setup ## Format, lint, types and layering, without the tests
	@echo "== format"
	@$(BIN)/ruff format --check .
	@echo "== lint"
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== layers"
	@$(BIN)/lint-imports

clean: ## Remove everything that make and the tools have made
	rm -rf $(VENV) dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

folders:
	@test -n "$(DATA)" && test -n "$(OUT)" || { echo "Name two: make evaluate DATA=recordings OUT=out/evaluation"; exit 2; }

packages:
	@scripts/install-debian.sh $(SERVERS)

$(VENV)/.for-running: pyproject.toml | $(BIN)/pip
	@echo "Installing the appliance into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.for-evaluating: $(VENV)/.for-running
	@echo "Installing what evaluation compares with into $(VENV)"
	@$(PIP) install --editable '.[evaluate,train]'
	@touch $@

$(VENV)/.for-tests: $(VENV)/.for-running
	@echo "Installing the tools for tests and development into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is not installed: apt-get install python3"; exit 1; }
	@scripts/install-debian.sh venv
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
