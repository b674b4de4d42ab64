# make draw PROMPT="a red balloon over a meadow"   install what drawing needs, and draw
# make test [JOBS=8]                               install what the tests need, and run them, two files at once or more
# make stress                                      the service under load, killed over and over, and for long
# make check                                       style, types, layers
# make oracles                                     ours against other programs, at full size too: gigabytes and minutes
#
# Everything goes into .venv, once; another Python is chosen by make PYTHON=python3.12.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PROMPT ?= a stop sign is flying in blue skies
ARGS ?=
JOBS ?= 2
export PROMPT

.PHONY: draw test stress check oracles clean

draw: .venv/for-draw
	@$(BIN)/limner draw $(ARGS) -- "$$PROMPT"

test: .venv/for-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

stress: .venv/for-test
	LIMNER_KILLS=50 $(BIN)/python -m pytest tests/serve/ledger/test_kills.py tests/serve/test_pictures.py -k killed $(ARGS)
	$(BIN)/python -m pytest tests/stress -m stress -s $(ARGS)
	LIMNER_EXAMPLES=100 $(BIN)/python -m pytest tests/serve/test_schema.py -s $(ARGS)

check: .venv/for-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

oracles: .venv/for-oracles
	$(BIN)/python -m pytest tests/oracles -m "full_size or not full_size" $(ARGS)

clean:
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp says that what the command needs is there; the constraints hold for what builds the package, too.

.venv/for-draw: EXTRAS =
.venv/for-test: EXTRAS = [train,serve,test]
.venv/for-check: EXTRAS = [train,serve,test,check]

.venv/for-draw .venv/for-test .venv/for-check: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv; this takes a minute or two, once."
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".$(EXTRAS)"
	@touch $@

# The peers say themselves what they need, as far as it is needed: with all that they ask for they would bring another torch.
.venv/for-oracles: .venv/for-test $(wildcard tests/oracles/*.txt)
	@sort -u tests/oracles/*.txt > .venv/peers.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r .venv/peers.txt
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Limner needs Python 3.11 or newer; this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
