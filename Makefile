# The commands of this project; `make run` and `make test` need nothing but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint format bench screenshots clean

run: export IMBOX_SETTINGS ?= examples/demo/imbox.toml
# Opens the demo and nothing else; a server of your own has its key from its own settings.
run: export IMBOX_DEMO_KEY ?= demo-key-not-for-production
run: $(VENV)/installed examples/demo/shop.db
	$(BIN)/flask check
	$(BIN)/gunicorn wsgi:app

test: $(VENV)/developed
	$(BIN)/pytest

lint: $(VENV)/developed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/developed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Takes a few minutes and 4 GB under the folder of temporary files; best on an idle machine.
bench: $(VENV)/benched
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/files.py
	$(BIN)/python benchmarks/overload.py

screenshots: $(VENV)/developed
	$(BIN)/python -m tools.screenshots

clean:
	rm -rf $(VENV) examples/demo/shop.db

examples/demo/shop.db: examples/demo/build.py
	$(PYTHON) examples/demo/build.py

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python has no venv here; on Debian: sudo apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@# The warning is that the checkout itself is installed, which is what is wanted.
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/developed: $(VENV)/installed
	$(BIN)/pip install --quiet --group dev
	@touch $@

$(VENV)/benched: $(VENV)/installed
	$(BIN)/pip install --quiet --group bench
	@touch $@
