# Needs: Python 3.11 or newer, make. Everything else comes from requirements/*.txt into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := requirements
comma := ,
# Tests that start the whole product run one after the other: two stacks at once are too much for two cores.
WHOLE := tests/services/client/test_whole.py
# Runs a command and says how long it took: $(call timed,what,command)
timed = @printf '\n── %s\n' '$(1)'; began=$$SECONDS; $(2); printf '── %s: %d s\n' '$(1)' $$((SECONDS - began))

.PHONY: help run test check bench lint types house golden service setup dev peer browser curl lock soak notices apidocs screens

help: ## say what each target does
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

run: setup ## start everything with the practice offices (Ctrl-C stops it)
	@$(BIN)/todoke up --demo

test: setup dev ## lint, types, house rules, all tests; the time of each part
	$(call timed,lint,$(MAKE) lint)
	$(call timed,types,$(MAKE) types)
	$(call timed,house,$(MAKE) house)
	@$(MAKE) browser curl
	$(call timed,unit$(comma) services$(comma) kit$(comma) engines,$(BIN)/pytest tests/unit tests/services tests/kit tests/engines --ignore=$(WHOLE) --durations=10)
	$(call timed,spine,$(BIN)/pytest -n0 tests/spine $(WHOLE))
	$(call timed,faults,$(BIN)/pytest -n0 tests/faults)
	$(call timed,races,$(BIN)/pytest -n0 tests/races)
	$(call timed,screens,$(BIN)/pytest -n0 tests/screens)

check: setup dev ## what to run before a commit: lint, types, house rules, tests without engines
	@$(MAKE) lint types house
	@$(BIN)/pytest tests/unit

bench: setup peer ## measure on this machine, beside the peer, and print one table
	@$(BIN)/python -m bench

lint: dev ## ruff (rules and format) and who may import whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

types: dev ## mypy, strict
	@$(BIN)/mypy

house: dev ## the house rules that no linter knows
	@$(BIN)/pytest tests/house -q

screens: setup dev browser ## write a picture of each screen to docs/screens
	@$(BIN)/pytest -n0 tests/screens --pictures

golden: setup dev ## write the golden files that new event versions lack (never changes one)
	@$(BIN)/python -m tools.golden

apidocs: setup dev ## write docs/api and docs/errors.md from the code
	@$(BIN)/python -m tools.apidocs

service: setup ## the first files of a new service: make service NAME=billing
	@$(BIN)/python -m tools.service "$(NAME)"

soak: setup dev ## the long ones: a million rows, a thousand races
	$(call timed,races,$(BIN)/pytest -m soak --numprocesses=0 tests/races tests/kit)
	$(call timed,all else,$(BIN)/pytest -m soak --numprocesses=0 --ignore=tests/races --ignore=tests/kit)

notices: setup dev ## write THIRD-PARTY-NOTICES.md from what is installed
	@$(BIN)/python -m tools.notices --write

# --- installing ---------------------------------------------------------------------------------------------------------

setup: .venv/.jars .venv/.assets ## install what it needs to run, and nothing else

.venv/.made:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed: put it on PATH or say make PYTHON=…' >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: $(LOCK)/run.txt | .venv/.made
	@echo 'installing what it needs to run …'
	@$(PIP) install --require-hashes --only-binary :all: -r $<
	@touch $@

.venv/.todoke: pyproject.toml .venv/.run
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

.venv/.jars: libs/todoke/engines/kafka-jars.txt .venv/.todoke
	@echo 'fetching Kafka where the cache lacks it …'
	@$(BIN)/python -m todoke.engines
	@touch $@

# Node is needed here only: from PATH, else from a package of PyPI. Nothing of it runs later.
.venv/.assets: services/portal/static_src/package-lock.json tools/assets.py \
		$(wildcard services/portal/static_src/*.css services/portal/static_src/*.js) .venv/.todoke $(LOCK)/node.txt
	@command -v npm >/dev/null || $(PIP) install --require-hashes --only-binary :all: -r $(LOCK)/node.txt
	@$(BIN)/python -m tools.assets
	@touch $@

dev: .venv/.dev

.venv/.dev: $(LOCK)/dev.txt .venv/.todoke
	@echo 'installing what building and testing need …'
	@$(PIP) install --require-hashes --only-binary :all: -r $<
	@touch $@

peer: .venv-peer/.made

.venv-peer/.made: $(LOCK)/peer.txt
	@echo 'installing the peer of the bench …'
	@$(PYTHON) -m venv .venv-peer
	@.venv-peer/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

# Debian's names; the browser tests use the system's Chromium and a Japanese font.
browser: ## see that the browser of the screen tests is there; as root install it
	@if ! command -v chromium >/dev/null || ! ls /usr/share/fonts/opentype/noto/NotoSansCJK* >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				chromium fonts-noto-cjk >/dev/null; \
		else echo 'The screen tests need the packages chromium and fonts-noto-cjk: install them first.' >&2; exit 1; fi; fi

curl: ## see that curl is there, which the documented examples use; as root install it
	@if ! command -v curl >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl >/dev/null; \
		else echo 'The examples of docs/integrating.md need curl: install it first.' >&2; exit 1; fi; fi

# uv is the lock tool only. The lock holds the hashes of every platform's files, and no address of any registry.
COMPILE := env -u PIP_FIND_LINKS .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade

.venv-lock/.made:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --disable-pip-version-check --quiet install uv
	@touch $@

lock: .venv-lock/.made ## pin every dependency anew, with hashes
	@$(COMPILE) $(LOCK)/run.in --output-file $(LOCK)/run.txt
	@$(COMPILE) $(LOCK)/dev.in --output-file $(LOCK)/dev.txt
	@$(COMPILE) $(LOCK)/peer.in --output-file $(LOCK)/peer.txt
	@$(COMPILE) $(LOCK)/node.in --output-file $(LOCK)/node.txt
	@$(BIN)/python -m tools.assets --lock
