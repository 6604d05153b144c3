# make help says what there is to do.

# Another interpreter than the newest that starts: make test PYTHON=/path/to/python3.13
PYTHON ?=
# What make run protects instead of the example: make run UPSTREAM=http://127.0.0.1:3000
UPSTREAM ?=
# Which parts make bench measures, and how: make bench BENCH='inprocess --quick'
BENCH ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PROGRAMS := $(wildcard scripts tests examples bench)

.PHONY: help install run test check bench clean
.DEFAULT_GOAL := help

help:
	@echo 'make run     start the example app behind the gateway; UPSTREAM=http://host:port protects your own app'
	@echo 'make test    run the tests; installs missing Debian packages where it may'
	@echo 'make check   format, lint, types, import contracts, tests and documentation of everything'
	@echo 'make bench   measure the gateway beside its neighbours'
	@echo 'make clean   remove what these commands made'
	@echo
	@echo 'PYTHON=/path/to/python3 takes that interpreter instead of the newest that starts (3.11 or later).'

# The environment is made anew when PYTHON names another interpreter than the one it was made with.
ifneq ($(PYTHON),)
ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.base_prefix, sys.version)'),$(shell $(BIN)/python -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null))
.PHONY: $(BIN)/python
endif
endif

$(BIN)/python:
	@scripts/make_venv.sh $(VENV) $(PYTHON)

$(INSTALLED): pyproject.toml constraints.txt $(BIN)/python
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[jwt,networks,proxy,redis,uploads,dev]' -c constraints.txt
	@touch $@

install: $(INSTALLED)

run: install
	@$(BIN)/python -m examples.saas $(if $(UPSTREAM),--upstream $(UPSTREAM))

test: install
	@scripts/debian_packages.sh
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: install
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check .
	$(BIN)/python scripts/link_types.py
	$(BIN)/mypy -p aupgate
	$(BIN)/mypy $(PROGRAMS)
	PYTHONPATH=build/types $(BIN)/lint-imports
	$(BIN)/python scripts/check_tests.py
	$(BIN)/python scripts/check_docs.py

bench: install
	@$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf $(VENV) build dist aupgate.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage coverage.xml
	find gateway policies middleware $(PROGRAMS) -type d -name __pycache__ -prune -exec rm -rf {} +
