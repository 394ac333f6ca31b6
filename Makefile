# make train [BACKEND=torch|tf|mxnet] [ARGS="--epochs 2 ..."]   train NiN, preset fast
# make test                                                     all tests, all backends
# make check                                                    format, lint, types
# make bench [ARGS="--quick ..."]                               how fast the backends are here

PYTHON ?= python3
BACKEND ?= torch
ARGS ?=
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK = 1

BACKENDS := torch tf mxnet
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --constraint $(CONSTRAINTS)
INPUTS := pyproject.toml $(CONSTRAINTS)

.DELETE_ON_ERROR:
.PHONY: train test check bench clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

train: $(VENV)/installed-$(BACKEND)
	$(PY) scripts/train.py --backend $(BACKEND) --preset fast $(ARGS)

# each backend is tested in processes of its own: TensorFlow and MXNet do not share one
test: $(VENV)/installed-all
	for backend in none $(BACKENDS); do \
		$(PY) -m pytest --numprocesses 2 --dist loadfile --backend $$backend $(ARGS) || exit 1; done

check: $(VENV)/installed-all
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m mypy

bench: $(VENV)/installed-all
	$(PY) scripts/bench.py $(ARGS)

clean:
	rm -rf $(VENV)

# a file per set of packages says that it is installed, so that a second call installs nothing
$(VENV)/installed-all: $(INPUTS) | $(VENV)/bin/python
	@echo "installing all backends and the tests' tools into $(VENV) (a few minutes, once)"
	$(INSTALL) --editable ".[all,dev]"
	@touch $@ $(BACKENDS:%=$(VENV)/installed-%)

$(BACKENDS:%=$(VENV)/installed-%): $(VENV)/installed-%: $(INPUTS) | $(VENV)/bin/python
	@echo "installing the $* backend into $(VENV) (a minute or more, once)"
	$(INSTALL) --editable ".[$*]"
	@touch $@

$(VENV)/installed-%:
	@echo "error: BACKEND=$*: unknown; choose one of $(BACKENDS)" >&2; exit 2

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
		echo "error: $$($(PYTHON) --version) found; Python 3.10 to 3.13 is needed: make PYTHON=..." >&2; exit 2; }
	@test -e $(VENV) && existed=yes; $(PYTHON) -m venv $(VENV) || { \
		[ -n "$$existed" ] || rm -rf $(VENV); \
		echo "error: no virtual environment can be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
