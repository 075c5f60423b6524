# Every target sets itself up: a fresh clone needs Python 3.11 or later (with venv) and make, nothing else.
# Choose another interpreter with `make PYTHON=/path/to/python3 ...`, more simulated worlds with `make sim SEEDS=20000`.

SEEDS ?= 2000
STAMP := .venv/.installed
BIN := .venv/bin
# The first of these that runs, is new enough and can make virtual environments. Looked up only when .venv is made.
CANDIDATES := python3.11 python3 python3.12 python3.13 python3.14
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# What is imported is compiled once, whatever the shell says: tests start Python some hundred times.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: venv test lint demo sim bench compiled clean

test: lint
	@$(BIN)/python -m pytest -n auto --dist worksteal

lint: venv
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

demo: venv
	@$(BIN)/phalanx demo

sim: venv
	@$(BIN)/phalanx sim --seeds $(SEEDS)

# With the compiled modules, as an installed package has them (`make bench PYTHONPATH=` measures the Python sources).
bench: export PYTHONPATH = build/compiled
bench: compiled
	@$(BIN)/phalanx --version
	@$(BIN)/python -m bench.wire
	@$(BIN)/python -m bench.multicast
	@$(BIN)/python -m bench.failover
	@$(BIN)/python -m bench.store

# The package as pip would install it: compiled where that is possible.  Run it by PYTHONPATH=build/compiled.
compiled: build/compiled/.built

build/compiled/.built: $(STAMP) hatch_build.py $(shell find src -name '*.py')
	@rm -rf build/compiled build/wheel
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-build-isolation --no-deps -w build/wheel .
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --no-deps --target build/compiled build/wheel/*.whl
	@touch $@

venv: $(STAMP)

# The build back end is installed first and the build not isolated, because constraints do not reach an isolated build.
$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	python=; \
	for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
		if "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "phalanx needs Python 3.11 or later with the venv module; none of these is: $(or $(PYTHON),$(CANDIDATES))" >&2; \
		echo "python3 here is: $$(python3 --version 2>&1 || true). Install a newer one (on Debian with python3-venv)," >&2; \
		echo "or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	[ -x $(BIN)/python ] && $(BIN)/python -c '$(USABLE)' 2>/dev/null || "$$python" -m venv --clear .venv; \
	pip="$(BIN)/python -m pip --quiet --disable-pip-version-check --no-input"; \
	$$pip install --constraint constraints.txt hatchling setuptools; \
	$$pip install --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
