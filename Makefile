# Everything that is done with this repository is a target here: `make help` lists them.
# `book` and `test` set up what they need; nothing has to be installed first but Python and make.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
CHAPTER ?=
# Of these the command line decides, and not what an environment happens to hold.
SUBMISSIONS :=
NAME :=
COURSE :=
URL :=
BRANCH :=
SITE :=

VENV := .venv
BIN := $(VENV)/bin
HTML := _build/html
SOURCES := _config.yml _toc.yml CONTRIBUTING.md helpers/claims.toml $(wildcard helpers/*.py chapters/*.ipynb chapters/*.md chapters/reference/* chapters/images/* _ext/*.py _static/* _templates/*/*)

# A stamp is written last, so that what was interrupted is done again. The one of the environment carries the
# name of the file that it was made from; the site's lies inside the site, and goes with it.
PINNED := $(VENV)/.made-from-$(notdir $(REQUIREMENTS))
READY := $(VENV)/.ready
BUILT := $(HTML)/.built

# An environment is bound to its folder: one that came along with a copy of the folder is made anew.
ifneq ($(shell cat $(PINNED) 2> /dev/null),$(CURDIR))
.PHONY: $(PINNED)
endif

.PHONY: help env book test execute assignment grade lab bench study retarget pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

env: $(READY) ## make the virtual environment .venv from requirements.txt

book: $(BUILT) ## render the book to _build/html, with warnings as errors
	@echo "The book is ready. Open file://$(CURDIR)/$(HTML)/index.html"

test: export OMP_NUM_THREADS := 1
test: $(READY) ## run everything that must hold: lint, a clean build of the site, unit tests, chapters, pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(render)
	$(BIN)/python -m pytest tests chapters -n 2 --dist loadscope \
	    --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300

execute: export TQDM_DISABLE := 1
execute: $(READY) ## run all chapters, or the one of CHAPTER=…, and store their outputs
	$(BIN)/python tools/execute.py $(CHAPTER)

assignment: $(READY) ## write the exercises of all chapters, or of CHAPTER=…, without solutions, to _build/assignments
	$(BIN)/python tools/assignment.py $(CHAPTER) $(if $(COURSE),--course "$(COURSE)")

grade: $(READY) ## grade SUBMISSIONS=folder, with <student>/CHAPTER.ipynb for each student, into folder/grades.csv
	$(BIN)/python tools/grade.py $(CHAPTER) $(if $(SUBMISSIONS),"$(SUBMISSIONS)")

lab: $(READY) ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/chapters

bench: export OMP_NUM_THREADS := 1
bench: $(READY) ## print the benchmark table
	$(BIN)/python -m benchmarks

study: $(READY) ## run the study of NAME=… again and store its table; without a name, list them and how long they take
	$(BIN)/python -m helpers.studies $(NAME)

retarget: ## point the book at a fork: URL=https://github.com/OWNER/NAME, and BRANCH=… or SITE=… where they differ
	@$(PYTHON) tools/retarget.py -- '$(URL)' '$(BRANCH)' '$(SITE)'

pins: ## resolve requirements.in anew, and write the versions into requirements.txt
	@$(check_python)
	$(PYTHON) -m venv --clear _build/pins
	_build/pins/bin/python -m pip install --quiet --progress-bar off --requirement requirements.in
	{ sed -n '/^#/p; /^$$/q' requirements.txt; echo; \
	  _build/pins/bin/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+[[:alnum:].]*$$//'; \
	} > _build/requirements.txt
	cmp --silent _build/requirements.txt requirements.txt || mv _build/requirements.txt requirements.txt
	rm -rf _build/pins _build/requirements.txt

clean: ## remove all that make has made, the environment included
	rm -rf $(VENV) _build rectified.egg-info .pytest_cache .ruff_cache

$(PINNED): $(REQUIREMENTS)
	@$(check_python)
	@echo "Making $(VENV) from $(REQUIREMENTS): this takes a few minutes, once."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --progress-bar off --requirement $(REQUIREMENTS)
	@echo '$(CURDIR)' > $@

# `helpers` as it stands here, importable from every folder.
$(READY): $(PINNED) pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(BUILT): $(READY) $(SOURCES)
	@$(render)

# From nothing each time: an incremental build forgets the warnings of the pages that it keeps.
define render
rm -rf _build/html _build/.doctrees _build/jupyter_execute
echo "Rendering the book."
$(BIN)/jupyter-book build . --path-output . --builder html --all -n -W --keep-going -q
touch $(BUILT)
endef

define check_python
command -v $(PYTHON) > /dev/null || \
    { echo "There is no $(PYTHON) here. Install Python 3.11 or later, or say which: make PYTHON=/path/to/python"; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
    { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); the book needs 3.11 or later. Say which: make PYTHON=python3.11"; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
    { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
endef
