# make tables     from nothing to the tables of the default study
# make test-fast  the fast tests, below a minute
# make test       from nothing to the tests of every part, some minutes
# make test-all   all tests that need no GPU, with the grid of heads, samplers and backends; with
#                 FRCORE_LONG=1 those too that take minutes each, or are the rest of a large grid
# make head NAME=my_face   the stubs of a new head: its file, catalogue line and tests
# make generated  write what is made from the code: docs, the schema of a study, figures
# make clean      remove caches; results stay (make clean-results says how to delete a study's)
#
# Needed: Python >= 3.11, make, pip. Everything else goes into .venv and nowhere else.
# PYTHON=python3.12      another interpreter to make the environment with
# STUDY=config/lfw.yaml  another study; ARGS is handed on: make tables ARGS="--config lfw=FOLDER"
# PIP_ARGS               handed on to pip, for example an index with torch's CPU-only wheels

PYTHON ?= python3
VENV ?= .venv
STUDY ?= config/quick.yaml
CORES ?= all
ARGS ?=
PIP_ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: tables test test-fast test-all install lint types format head generated clean clean-results help

tables: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES) --configfile $(STUDY) $(ARGS)

# One process per core; the fast tests come first (tests/conftest.py). A file stays in one process,
# because its tests share what is costly to set up; and each process has one thread, because more
# would wait for one another.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-fast: $(INSTALLED)
	$(PYTEST) $(ARGS)

test: $(INSTALLED)
	$(PYTEST) -m "not grid and not gpu" $(ARGS)

test-all: $(INSTALLED)
	$(PYTEST) -m "not gpu" $(ARGS)

install: $(INSTALLED)

# Debian's Python has no ensurepip without its package python3-venv: then the outer pip helps.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11; give another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) 2>/dev/null \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) \
			&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[dev,slurm]"
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/hadolint Dockerfile
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports --no-cache

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

head: $(INSTALLED)
	@$(BIN)/python -m tests.new_head $(NAME)

# tests/test_project.py compares each with what is committed.
generated: $(INSTALLED)
	$(BIN)/frcore docs
	$(BIN)/frcore schema --out workflow/schemas/study.schema.json

# Caches alone: results may be days of work, and .snakemake knows what they were made from.
clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

# Nothing is deleted but what NAMES says.
clean-results:
	@if test -z "$(strip $(NAMES))"; then \
		find results -mindepth 1 -maxdepth 1 -type d ! -name reference -exec du -sh {} +; \
		echo 'Nothing was deleted. To delete a study: make clean-results NAMES="STUDY ..."'; \
	fi
	@for name in $(NAMES); do \
		case "$$name" in reference | README.md | .* | */*) \
			echo "$$name is not the name of a study" >&2; exit 2;; esac; \
		test -d "results/$$name" || { echo "there is no results/$$name" >&2; exit 2; }; \
	done
	@for name in $(NAMES); do \
		du -sh "results/$$name" && rm -rf "results/$$name" "logs/$$name" || exit 1; \
	done

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile
