# make run     start pushd from this folder; works on a fresh clone
# make test    everything that must hold: style, types, tests
# make lint    style alone
# make types   types alone
# make bench   measure against mosquitto, and under attack
# make crash   kill the broker 280 times, and count what it forgot
# make clean   remove what was made, except certificates and passwords
#
# The first Python that is new enough is taken; `make run PYTHON=...` chooses another.

SHELL = /bin/sh
PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; done)
BIN = .venv/bin
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet

# The JavaScript clients that the tests use.
NPM = tests/clients/js

# What an installation consists of: when one of these is newer, `make run` installs again.
PACKAGING = setup.cfg pyproject.toml
SOURCES = $(PACKAGING) $(shell find pushd twisted -type f ! -name '*.pyc' ! -name dropin.cache)

.PHONY: help run test lint types bench crash clean test-tools

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# Ctrl-C reaches everybody at this terminal; twistd ends by that signal after it has stopped cleanly. The
# trap lets this shell live to say that all is well. --pidfile= writes none: nothing is left behind.
run: .venv/installed
	@$(BIN)/pushctl first-run
	@trap : INT; status=0; $(BIN)/twistd --pidfile= -n pushd -c conf/pushd.conf || status=$$?; \
		test $$status -eq 130 || exit $$status

test: test-tools .venv/installed-for-tests $(NPM)/node_modules/installed
	@sh tests/run_all.sh

lint: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-for-tests
	$(BIN)/mypy pushd

bench: test-tools .venv/installed-for-tests
	PYTHONPATH=. $(BIN)/python benchmarks/run.py
	PYTHONPATH=. $(BIN)/python -m benchmarks.overload

# kill -9 cannot tell `normal` from `full`: what the kernel was given it writes. `full`, the default, is here
# for its timing.
CRASH = PYTHONPATH=. $(BIN)/python -m tests.crash.run
crash: .venv/installed-for-tests
	$(CRASH) --kills 200 --durability normal
	$(CRASH) --kills 30 --durability full
	$(CRASH) --kills 30 --signal TERM
	$(CRASH) --kills 20 --backlog 10000
	$(CRASH) --full-disks 50
	$(CRASH) --drops 500

clean:
	rm -rf .venv build pushd.egg-info benchmarks/build twisted/plugins/dropin.cache $(NPM)/node_modules
	rm -rf .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# build/ is where setuptools would pick up modules that are gone from the sources. The call of twistd lets
# Twisted note the plugin now, as root if need be, and not at the first start.
.venv/installed: $(SOURCES) | .venv/bin/python
	@echo 'Installing pushd into .venv ...'
	@rm -rf build && $(INSTALL) .
	@$(BIN)/twistd --help >/dev/null
	@touch $@

# aiontfy, Home Assistant's client, names Python 3.12 because Home Assistant does; it runs on 3.11 as well.
# The tests take pushd from this folder, so only a change of what it depends on matters here.
.venv/installed-for-tests: $(PACKAGING) | .venv/bin/python
	@echo 'Installing the tools of the tests into .venv ...'
	@rm -rf build && $(INSTALL) '.[test]'
	@$(INSTALL) --no-deps --ignore-requires-python 'aiontfy >= 0.8'
	@touch $@

# Not before npm is there: that is what test-tools sees to.
$(NPM)/node_modules/installed: $(NPM)/package.json | test-tools
	@echo 'Installing the JavaScript clients of the tests ...'
	@cd $(NPM) && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

.venv/bin/python:
	@test -n '$(PYTHON)' || { echo 'pushd needs Python 3.10 or later; none was found.' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot make virtual environments; on Debian and Ubuntu:' >&2; \
		echo '    sudo apt-get install python3-venv' >&2; exit 1; }
	@rm -rf .venv && $(PYTHON) -m venv .venv

test-tools:
	@sh tests/install_tools.sh
