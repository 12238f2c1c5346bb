# Two lines do everything:  make demo  trains a network,  make test  runs the suite (make all-tests: the
# slow ones too, which start many processes, and kill some).  make docs  writes build/docs/index.html.
# The newest Python of those that we test and this machine has, on the path or from pyenv.
PYTHON ?= $(or $(firstword $(foreach version,3.13 3.12 3.11,$(call interpreter,$(version)))),python3)
VENV   ?= .venv
BIN    := $(VENV)/bin

# A name on the path may be pyenv's, with nothing behind it, or lack what makes environments.
interpreter = $(shell for python in python$(1) "$$HOME"/.pyenv/versions/$(1).*/bin/python$(1); do \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null && echo "$$python" && break; done)

# The accelerator that this machine has, as an extra of the package.
ACCELERATOR := $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || { test -e /dev/accel0 && echo tpu; })
comma       := ,
EXTRAS      := dev$(comma)docs$(if $(ACCELERATOR),$(comma)$(ACCELERATOR))

.PHONY: demo interpreter test all-tests check core-test laws guard docs docs-test

demo: $(VENV)/installed
	$(BIN)/python -m imgrec_jax.main --config=configs/digits.py

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests

all-tests: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal tests

# Which interpreter a VERSION such as 3.12 has here; nothing where there is none.
interpreter:
	@echo $(call interpreter,$(VERSION))

# What every Python and JAX that we support must pass, compiled as it is for users.
core-test: $(VENV)/installed
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -n 2 -m "not slow" tests/test_invariants.py tests/training tests/tasks tests/models tests/ops tests/core/test_barriers.py

# The laws of all tasks and skeletons that `make test` leaves out for time; Ctrl-C, and damaged runs.
laws: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow tests/test_laws_of_tasks.py tests/test_skeletons.py tests/test_invariants.py \
		tests/cli/test_ctrl_c.py tests/training/test_damaged_run.py

# That the quick forms for CPUs are still as quick, beside the plain ones.
guard: $(VENV)/installed
	$(BIN)/python -m benchmarks.guard

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# A broken link or a page that no other one leads to is an error.
docs: $(VENV)/installed
	$(BIN)/sphinx-build -q --fail-on-warning --keep-going -b html docs build/docs
	@echo "Wrote build/docs/index.html"

# Every command and block of code of the documentation, the worked examples and the notebook.
docs-test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow tests/docs tests/examples

$(VENV)/installed: pyproject.toml constraints.txt
	$(BIN)/python -c 'import sys; sys.exit(sys.argv[1] != sys.version)' \
		"$$($(PYTHON) -c 'import sys; print(sys.version)')" 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@
