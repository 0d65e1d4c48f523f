# The commands of the README. The first call of any target makes .venv; later calls reuse it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test bench gpu check wheel docs lock clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# --compile-bytecode: without it every Ray worker compiles torch again (2 s becomes 8 s).
$(READY): requirements.lock pyproject.toml | $(BIN)/uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --compile-bytecode --no-deps --editable .
	@touch $(READY)

demo: $(READY)  ## a small study on the bundled digits: hypernetworks, SI, online EWC, fine-tuning
	$(BIN)/hcl demo

test: $(READY)  ## the fast tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal \
	  -m "not slow and not mnist and not browser and not cuda"

bench: $(READY)  ## time training steps against the plain algorithm; make bench ONLY=p10:9 for one row
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,$(BIN)/python -m bench.methods)

gpu: $(READY)  ## have a GPU? check every method on it, and time it
	$(BIN)/python -m pytest -m cuda
	$(BIN)/python -m bench.gpu

check: $(READY)  ## what CI checks: lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hcl sweeps bench

wheel: $(READY)  ## build dist/hcl_sweeps-*.whl, and try it in a new environment
	rm -rf dist && $(BIN)/python -m hatchling build -t wheel
	$(BIN)/python -m pytest tests/test_wheel.py

docs: $(READY)  ## build the documentation into site/ (a dead link fails)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lock: | $(BIN)/uv  ## resolve requirements.lock again (hashes, no URLs)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --extra dev --extra docs pyproject.toml -o requirements.lock

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
