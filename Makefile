# Every command works on a bare Debian 12 with Python 3.11 or newer, pip and make. After the first one no network is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Named by the content that was installed, not by its time: a clone or a switched branch asks no index for what is here.
STAMP := $(VENV)/.installed-$(shell cat requirements/dev.txt pyproject.toml | sha256sum | cut -c 1-16)

.PHONY: demo test soak storm simulate check bench run lock sbom clean

demo: $(STAMP)
	@$(BIN)/xoev-hub demo $(if $(JSON),--json $(JSON))

# Four processes on two cores: many tests wait for others, for clocks and for what they have killed. Files are handed
# out as tests/conftest.py orders them.
test: $(STAMP)
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# The large figures of all proofs, one after the other: hours. Whatever records a figure is run; then the page is renewed.
PROOFS = $(shell grep -rlE "proving.record import|RELOADS" --include='test_*.py' tests/promises tests/simulation)
storm: $(STAMP)
	XOEV_HUB_STORM=1 RELOADS=100 $(BIN)/python -m pytest -s --timeout=14400 $(if $(ARGS),$(ARGS),$(PROOFS))
	$(BIN)/python docs/promises.py --collect

# The deterministic simulation, 1,000 seeds in the suite: SEEDS=100000 for a night. XOEV_HUB_TEST_SEED repeats a run.
simulate: $(STAMP)
	SEEDS=$(or $(SEEDS),10000) $(BIN)/python -m pytest -n auto --dist load -s --timeout=0 tests/simulation/test_simulation.py $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Large documents, many of them: is the memory given back? About ten minutes and 15 GB of disk; SOAK=20 for a short one.
soak: $(STAMP)
	XOEV_HUB_SOAK=$(or $(SOAK),200) $(BIN)/python -m pytest -s --timeout=3600 tests/promises/test_large_neighbours.py

bench: $(STAMP)
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

run: $(STAMP)
	@mkdir -p var/in/akten var/out/wolfsburg var/out/braunschweig var/out/salzgitter var/out/bauportal var/out/statistik
	$(BIN)/xoev-hub -c routes.yaml run

# What the hub is made of, as CycloneDX.
sbom: $(STAMP)
	@$(BIN)/python deploy/sbom.py

# The locked set is installed with hashes; the program itself is installed in place, without asking any index.
# Debian keeps ensurepip in a package of its own (python3-venv). Without it the system's pip installs into the environment.
$(STAMP):
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: $(PYTHON) is not Python 3.11 or newer with its module venv; name another one: make PYTHON=…" >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv $(VENV) && pip="$(BIN)/python -m pip"; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --without-pip $(VENV) && pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	else \
		echo "make: $(PYTHON) has neither ensurepip nor pip; install one of them: apt install python3-venv" >&2; exit 1; \
	fi && \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 && \
	$$pip install --quiet --require-hashes --only-binary :all: -r requirements/dev.txt && \
	$$pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@rm -f $(VENV)/.installed* && touch $@

# Renew the locks; needs pip-tools on the path.
# By the oldest Python that must do: Debian 12 has 3.11.2, and what is locked by a newer patch release may refuse it.
lock:
	pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --extra postgres -o requirements/run.txt pyproject.toml
	pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --extra postgres --extra xslt3 -o requirements/xslt3.txt pyproject.toml
	pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --extra postgres --extra xslt3 -o requirements/dev.txt requirements/dev.in pyproject.toml

clean:
	rm -rf $(VENV) build dist
