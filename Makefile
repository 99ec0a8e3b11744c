# Two commands matter: `make lab` shows the server running, `make test` is everything that CI runs.
# Both prepare .venv themselves, ask nothing, and skip what is already done.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 20
GUIDED_SECONDS ?= 120
HOURS ?= 24

.PHONY: help lab test install format static types unit properties docs fuzz interop soak peers rfc clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

lab: $(VENV)/.lab ## install what it needs and run the lab server with its demo phones
	@exec $(BIN)/rtpmix lab --demo $(ARGS)

test: static types docs unit properties fuzz interop ## everything that CI runs

install: $(VENV)/.dev ## prepare .venv for development, and nothing else

format: $(VENV)/.dev ## rewrite the sources in the house's format
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

static: $(VENV)/.dev ## format and lint
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev ## mypy --strict
	@$(BIN)/mypy

# Thousands of random scripts and spoilt inputs are left out: they would take twice as long.
APART := properties fuzz interop
unit: $(VENV)/.dev ## tests in virtual time, with branch coverage
	@$(BIN)/python -m pytest tests $(APART:%=--ignore=tests/%) --cov --cov-report=term:skip-covered

properties: $(VENV)/.dev ## what holds in every random conversation
	@$(BIN)/python -m pytest tests/properties

docs: $(VENV)/.dev ## build the documentation; a warning fails
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	echo "docs: docs/_build/html/index.html"

fuzz: $(VENV)/.dev ## hostile input: FUZZ_SECONDS (20) a target, GUIDED_SECONDS (120) by coverage
	@RTPMIX_FUZZ_SECONDS=$(FUZZ_SECONDS) RTPMIX_GUIDED_SECONDS=$(GUIDED_SECONDS) \
	  $(BIN)/python -m pytest tests/fuzz

# Away from CI an absent peer leaves its tests out; in CI it fails (tests/interop/conftest.py).
interop: $(VENV)/.dev ## against SIPp, baresip, linphone, PJSUA2, Kamailio, JsSIP, tshark and more
	@$(BIN)/python -m pytest -rs tests/interop

soak: $(VENV)/.dev ## a day of calls in virtual time: HOURS (24), some hours of a core
	@$(BIN)/python -m benchmarks soak --hours $(HOURS)

peers: tests/interop/jssip/node_modules .peers ## the peers for `interop` that Debian lacks

rfc: $(VENV)/.dev ## write docs/rfc.md anew from the citations in the sources
	@$(BIN)/python docs/rfc_table.py --write

clean: ## remove .venv and everything that was built
	@rm -rf $(VENV) .peers docs/_build build dist .mypy_cache .ruff_cache .pytest_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------ peers for the interop tests

tests/interop/jssip/node_modules: tests/interop/jssip/package-lock.json
	@npm ci --silent --no-audit --no-fund --prefix tests/interop/jssip
	touch $@

# Not into .venv: it is under the GPL, and for one test program alone.
.peers: tests/interop/pjsua/requirements.txt $(VENV)/.dev
	@rm -rf $@
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --only-binary :all: \
	  --require-hashes --target $@ -r $<
	touch $@

# ------------------------------------------------------------------ the virtual environment

$(VENV)/.lab: pyproject.toml
	@$(prepare_venv)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e .
	touch $@

$(VENV)/.dev: pyproject.toml
	@$(prepare_venv)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.lab

# A working .venv is kept. Otherwise the first Python that is new enough makes one; a shim of
# pyenv that names a Python which is not selected counts as absent because it can't run this.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
define prepare_venv
if ! $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null; then
  found=""
  for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do
    if "$$candidate" -c '$(NEW_ENOUGH)' 2>/dev/null; then found="$$candidate"; break; fi
  done
  if [ -z "$$found" ]; then
    echo "rtpmix needs Python 3.11 or later and found $$($(or $(PYTHON),python3) -V 2>&1 | head -n 1); install one, or name it: make PYTHON=/path/to/python" >&2
    exit 1
  fi
  echo "Preparing $(VENV) with $$("$$found" -V) (once; about a minute)"
  if ! "$$found" -m venv --clear $(VENV) >/dev/null; then
    echo "$$found cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
fi
endef
