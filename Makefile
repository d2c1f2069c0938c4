# Each command does all of its own set-up: a virtual environment with the pinned, tested versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two test processes on two cores: one thread each, so that they do not fight.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: demo test test-lowest test-processors test-clusters torture slow lint format clean

demo: $(STAMP)
	$(BIN)/isotropy demo

test: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile

# The core on the lowest versions that pyproject.toml admits; no torch, no pyarrow.
test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt . 'pytest>=8.2' hypothesis
	$(ONE_THREAD) $(VENV)-lowest/bin/python -m pytest tests/test_moments.py tests/correctors tests/contracts tests/metrics tests/report tests/cli

# The numerical part on the code that other processors would run; see tests/processors.py.
test-processors: $(STAMP)
	TOKENIZERS_PARALLELISM=false $(BIN)/python tests/processors.py $(PROCESSORS)

# A thousand faults (kills, full disks, lost servers, damaged files ...), each job run again until
# it ends well and every row counted; the seed is printed. TORTURE="--seed 7 --faults 100" for less.
torture: $(STAMP)
	$(ONE_THREAD) PYTHONPATH=tests $(BIN)/python -m torture --json benchmarks/results/torture.json $(TORTURE)

# Spark and Ray Data, some 600 MB with Java 17 besides: in an environment of their own.
test-clusters:
	$(PYTHON) -m venv $(VENV)-clusters
	$(VENV)-clusters/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[io]' pytest pandas polars 'pyspark>=4' 'ray[data]>=2.40'
	$(ONE_THREAD) $(VENV)-clusters/bin/python -m pytest tests/jobs/test_arrow.py -m 'slow or not slow'

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/docstrings.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "isotropy needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: install python3-venv." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-clusters
