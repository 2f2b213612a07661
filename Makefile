# make demo and make test create .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PEERS_VENVS := .venv-peers
PEERS_STAMPS := $(foreach name,peers emm nomenklatura,$(PEERS_VENVS)/$(name)/.installed)

.PHONY: demo test test-long explore test-faults test-injected-faults rehearsal soak test-browser lint types contracts unused check licences docs reference ui bench bench-quick bench-ci bench-ci-baseline compare-peers fuzz mutants screenshots requirements clean

demo: $(STAMP)
	$(BIN)/enrich-dist run --config config/sample.yaml

# In two processes, because tests wait for workers. Tests of one file share what they set up.
test: $(DEV_STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser and not long"

test-long: $(DEV_STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "long and not browser"
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 tests/property

# All property tests with new random examples.
explore: $(DEV_STAMP)
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -n 2 --dist loadfile -m hypothesis

# Fault tests with real processes (some mount file systems and need root).
test-faults: $(DEV_STAMP) test-injected-faults
	$(BIN)/python -m pytest -m faults

# The end-to-end tests with injected faults in 5% and 20% of the attempts.
END_TO_END := tests/integration/cluster/test_known_case.py tests/integration/dagster/test_sample_job.py
test-injected-faults: $(DEV_STAMP)
	FAULT_PROBABILITY=0.05 $(BIN)/python -m pytest $(END_TO_END)
	FAULT_PROBABILITY=0.2 $(BIN)/python -m pytest $(END_TO_END)

# 200 random fault schedules; writes a record to reports/. Options: make soak SOAK="--schedules 1000 --seed 7"
soak: $(DEV_STAMP)
	$(BIN)/python -m scripts.soak $(SOAK)

# Needs Chromium (Debian: apt-get install chromium; otherwise set CHROMIUM).
test-browser: $(DEV_STAMP)
	$(BIN)/python -m pytest -m browser

# Execute the container file and start the services of compose without a container engine (as root).
rehearsal: $(DEV_STAMP)
	$(BIN)/python -m scripts.deploy_rehearsal

# The Dagster UI with the runs of this directory, at 127.0.0.1:3000.
ui: $(STAMP)
	$(BIN)/dagster dev

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/mypy

contracts: $(DEV_STAMP)
	$(BIN)/lint-imports

# Unused code, and missing or unused dependencies; pyproject.toml explains the exceptions.
unused: $(DEV_STAMP)
	$(BIN)/vulture
	$(BIN)/deptry enrich_dist dagster_defs

# List and check the licences of all dependencies, and write an SBOM (CycloneDX), in build/licences.
licences: $(DEV_STAMP)
	$(BIN)/python -m scripts.licences

check: lint types contracts unused

# Build the documents as a site, build/site/index.html; fails on broken links.
docs: $(DEV_STAMP)
	$(BIN)/python -m scripts.site

# Generate docs/reference: commands, errors, tables, metrics and events.
reference: $(DEV_STAMP)
	$(BIN)/python -m scripts.reference

# Writes a record to reports/benchmarks/.
bench: $(STAMP)
	$(BIN)/python -m scripts.benchmark_enrichment

bench-quick: $(STAMP)
	$(BIN)/python -m scripts.benchmark_enrichment --quick --output work/benchmarks

# A million damaged and random inputs to the readers; writes reports/reliability/fuzzing.json. Some 30 minutes.
fuzz: $(DEV_STAMP)
	$(BIN)/python -m scripts.fuzz

# Plant sampled faults in the code, run the quick unit tests that reach each; writes reports/reliability/mutants.json.
# An hour at most, alone on the machine. Options: make mutants MUTANTS="--sample 400 --minutes 120"
mutants: $(DEV_STAMP) $(PEERS_VENVS)/mutants/.installed
	nice $(BIN)/python -m scripts.mutants reach
	nice $(PEERS_VENVS)/mutants/bin/python -m scripts.mutants run $(MUTANTS)

# Compare time and memory with the committed baseline; exit code 4 on a regression. Noise may not allow a verdict: then
# exit code 0, or 1 with STRICT=1.
bench-ci: $(STAMP)
	@mkdir -p work/benchmarks
	$(BIN)/python -m scripts.ci_benchmark --output work/benchmarks/ci.json $(if $(filter 1,$(STRICT)),--strict)

# Record this revision as the baseline (reports/benchmarks/ci-baseline.json): on an idle machine, some ten minutes.
bench-ci-baseline: $(STAMP)
	$(BIN)/python -m scripts.ci_benchmark --record

# Other tools on the same inputs, a generated case. Options: make compare-peers COMPARE="--data DIRECTORY"
compare-peers: $(STAMP) $(PEERS_STAMPS)
	$(BIN)/python -m scripts.compare_peers --environments $(PEERS_VENVS) $(COMPARE)

# Images of the documents from real runs; a browser test makes those of the Dagster UI.
screenshots: $(DEV_STAMP)
	$(BIN)/python scripts/screenshots.py
	SCREENSHOTS=docs/images $(BIN)/python -m pytest -m browser tests/integration/browser/test_dagster_ui.py

$(STAMP): requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 1))' || \
	  { echo "enrich_dist needs Python 3.11.1 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "The venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	@echo "Setting up $(VENV) (once, some minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m enrich_dist.matching  # compile the kernels now instead of in the first run
	@touch $@

$(DEV_STAMP): $(STAMP) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/dev.txt
	@touch $@

# An environment for each set of peers whose requirements fit together. PyICU has no wheels: nomenklatura needs the ICU
# headers (Debian: apt-get install libicu-dev pkg-config g++).
$(PEERS_VENVS)/%/.installed: requirements/%.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo '*' > $(PEERS_VENVS)/.gitignore
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary pyicu \
	  --require-hashes -r $<
	@touch $@

# Pin the dependencies of pyproject.toml for all platforms and Python versions, with hashes, without index URLs.
requirements: $(DEV_STAMP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" pyproject.toml requirements/build.in -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" --extra postgresql-history --extra jobs \
	  pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/deploy.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-deps --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" requirements/deploy-tools.in \
	  -o requirements/deploy-tools.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" --group dev -c requirements/run.txt -o requirements/dev.txt
	for group in peers emm nomenklatura mutants; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" \
	  --group $$group -o requirements/$$group.txt || exit; done

clean:
	rm -rf work $(VENV) $(PEERS_VENVS)
