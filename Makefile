# make demo: set up and run the whole workflow on built-in data.   make test: set up and check everything.
# make test-long: the closures, and more cases of laws, which take minutes each. XLA_FLAGS= compiles as users do.
# make docs: build the site.   make bench: run all benchmarks, which takes hours.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEEDS := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "deepmem needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": say make PYTHON=python3.11")'

export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-long rules check docs bench clean

# Python compiles and keeps what it imports; all modules at once take half of the time of the installation
$(VENV)/installed: pyproject.toml constraints.txt
	$(NEEDS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[generate,test]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/deepmem demo

rules: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

check: rules
	$(BIN)/mypy

# mypy runs beside the first tests, and is heard after the last one, if it finds something
test: rules
	mkdir -p .cache
	$(BIN)/mypy > .cache/mypy.txt 2>&1 & types=$$!; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$types || { cat .cache/mypy.txt; exit 1; }; exit $$tests

test-long: $(VENV)/installed
	XLA_FLAGS= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long

# the site, in site/: a broken link, an undocumented public name or a notebook that fails stops it
$(VENV)/docs-installed: pyproject.toml constraints.txt
	$(NEEDS)
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[generate,docs]'
	touch $@

docs: $(VENV)/docs-installed
	$(VENV)/docs/bin/python -m mkdocs build --strict

bench: $(VENV)/installed
	for script in amplitudes anomalous cross_sections exact gpu jets neutrinos particles reading scale surrogate trust; do $(BIN)/python benchmarks/$$script.py || exit 1; done

clean:
	rm -rf $(VENV) demo models post site .cache
