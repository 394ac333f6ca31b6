# make train [BACKEND=torch|tf|mxnet] [ARGS="--epochs 2 ..."]   train NiN, preset fast
# make test [ARGS="-k words"]                                   the tests, all backends: three to seven minutes
# make test-long                                                the tests that make test leaves out: half an hour
# make test-jax                                                 the backends' tests with the example in JAX
# make test-book                                                our networks under the book's own code
# make test-gpu [PYTHON=python3 ARGS="--parts step,fast"]       what there is to know of a GPU, in minutes
# make check                                                    format, lint, types, workflows
# make docs                                                     the pages of docs/ as a site, in docs/_build
# make bench [ARGS="--quick ..."]                               how fast the backends are here
# make clean                                                    remove what make installed
#
# What a target needs is installed into .venv first; PYTHON=python3.11 chooses the Python for it.
# After make train, these commands run as .venv/bin/python scripts/NAME.py (--help: the options):
#   train.py     train, with all options       predict.py   classes of images, with trained weights
#   compare.py   backends layer by layer       shapes.py    the book's shape walk
#   convert.py   weights to other programs     doctor.py    what works on this machine
#   bench.py     speed and memory              cost.py      what networks cost (exercise 3)
#   look.py      what the layers see           figure.py    the chapter's figure
#   ablate.py    variants side by side         launch.py    several workers on this machine
#   tune.py      hyperparameters (exercise 1)  report.py    runs side by side on one page

PYTHON ?= python3
BACKEND ?= torch
ARGS ?=
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# else each process that a test starts compiles the project anew
unexport PYTHONDONTWRITEBYTECODE

BACKENDS := torch tf mxnet
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --constraint $(CONSTRAINTS)
# plain "from mxnet import np" works in the environment too, beside a NumPy of today
SITE = $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
MXNET_NUMPY = cp nin_mxnet/numpy_bool.pth $(SITE)/nin_mxnet_numpy_bool.pth
INPUTS := pyproject.toml $(CONSTRAINTS)

# its tests compile more than they compute: keep what is compiled, and optimize it little
JAX_FAST := JAX_COMPILATION_CACHE_DIR=$(abspath $(VENV))/jax-cache \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5 XLA_FLAGS=--xla_backend_optimization_level=0

.DELETE_ON_ERROR:
.PHONY: train test test-long test-jax test-book test-gpu check docs bench clean help

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

train: $(VENV)/installed-$(BACKEND)
	$(PY) scripts/train.py --backend $(BACKEND) --preset fast $(ARGS)

# each backend is tested in processes of its own: TensorFlow and MXNet do not share one
test: $(VENV)/installed-all
	for backend in none $(BACKENDS); do \
		$(PY) -m pytest --numprocesses 2 --dist loadfile --backend $$backend $(ARGS) || exit 1; done

# a backend that has no long test is no failure
test-long: $(VENV)/installed-all
	for backend in none $(BACKENDS); do \
		$(PY) -m pytest --long --numprocesses 2 --backend $$backend $(ARGS) || [ $$? -eq 5 ] || exit 1; done

# the example in JAX, by what every backend has to pass
test-jax: $(VENV)/installed-all
	$(JAX_FAST) $(PY) -m pytest --numprocesses 2 --dist loadfile --backend examples/nin_jax.py \
		tests/backends $(ARGS)

# d2l wants older packages than the project, so an environment of its own; make again, with its names
BOOK := VENV=.venv-book CONSTRAINTS=constraints-book.txt
BOOK_PYTHON = $(shell for python in "$(PYTHON)" python3.11 python3.10; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)

test-book:
	@[ -n "$(BOOK_PYTHON)" ] || { echo "error: d2l needs Python 3.10 or 3.11, neither is here;" \
		"$$($(PYTHON) --version) found: make test-book PYTHON=..." >&2; exit 2; }
	@$(MAKE) --silent $(BOOK) PYTHON="$(BOOK_PYTHON)" .venv-book/installed-book
	for backend in $(BACKENDS); do \
		.venv-book/bin/python -m pytest tests/book --backend $$backend $(ARGS) || exit 1; done

# PyTorch for a GPU is installed in many ways, so the Python that has it is the caller's
test-gpu:
	$(PYTHON) tests/gpu/run.py $(ARGS)

check: $(VENV)/installed-all
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m mypy
	$(PY) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: $(VENV)/installed-docs
	$(PY) -m sphinx -W --keep-going -q docs docs/_build
	@echo "open docs/_build/index.html"

bench: $(VENV)/installed-all
	$(PY) scripts/bench.py $(ARGS)

clean:
	rm -rf $(VENV) .venv-book .venv-oldest docs/_build

# a file per set of packages says that it is installed, so that a second call installs nothing
$(VENV)/installed-all: $(INPUTS) | $(VENV)/bin/python
	@echo "installing all backends and the tests' tools into $(VENV) (a few minutes, once)"
	$(INSTALL) --editable ".[all,dev]"
	@$(MXNET_NUMPY)
	@touch $@ $(BACKENDS:%=$(VENV)/installed-%)

$(VENV)/installed-docs: $(INPUTS) | $(VENV)/bin/python
	@echo "installing Sphinx and PyTorch into $(VENV) (a minute or more, once)"
	$(INSTALL) --editable ".[torch,docs]"
	@touch $@

$(VENV)/installed-book: $(INPUTS) | $(VENV)/bin/python
	@echo "installing d2l and all backends into $(VENV) (a few minutes and 7 GB, once)"
	$(INSTALL) --editable ".[book]"
	@touch $@

$(BACKENDS:%=$(VENV)/installed-%): $(VENV)/installed-%: $(INPUTS) | $(VENV)/bin/python
	@echo "installing the $* backend into $(VENV) (a minute or more, once)"
	$(INSTALL) --editable ".[$*]"
	@case $* in mxnet) $(MXNET_NUMPY);; esac
	@touch $@

$(VENV)/installed-%:
	@echo "error: BACKEND=$*: unknown; choose one of $(BACKENDS)" >&2; exit 2

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
		echo "error: $$($(PYTHON) --version) found; Python 3.10 to 3.13 is needed: make PYTHON=..." >&2; exit 2; }
	@test -e $(VENV) && existed=yes; $(PYTHON) -m venv $(VENV) || { \
		[ -n "$$existed" ] || rm -rf $(VENV); \
		echo "error: no virtual environment can be made; on Debian and Ubuntu: apt install python3-venv;" \
			"or without one, as on Colab: $(PYTHON) -m pip install -c $(CONSTRAINTS) -e '.[$(BACKEND)]'," \
			"then $(PYTHON) scripts/train.py" >&2; exit 2; }
