# Everything lives in .venv: `make setup` fills it, the other targets set it up by themselves.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.complete
RELEASE := .venv-release
CONTAINER ?= buildah
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
CODE := webhook webhook/cli/scripts/flyte-admission certs examples tests benchmarks
BENCHMARKS := request_path throughput through_api_server scale quota jobs hostile stalls start views

.PHONY: help setup run serve demo-cluster test e2e flyte check lint workflows audit format schema lock version wheel sbom image bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## Put the program and its tools into .venv

$(SETUP): requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: $(SETUP) ## Answer the example Pods over https and print what changes
	$(BIN)/python examples/demo.py

serve: $(SETUP) ## Keep the webhook running with the example policy
	$(BIN)/python examples/demo.py --keep

demo-cluster: $(SETUP) ## Start a cluster on this machine with the webhook in it; POLICY= names your policy
	$(BIN)/python -m tests.e2e.demo_cluster $(if $(POLICY),--policy $(POLICY))

test: $(SETUP) ## Run the tests but those of `make e2e`; ARGS=… chooses some, COVERAGE=1 measures their coverage
	$(if $(COVERAGE),$(BIN)/coverage erase)
	$(if $(COVERAGE),$(BIN)/coverage run -m pytest,$(BIN)/pytest) -n auto $(ARGS)
	$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage report)

e2e: $(SETUP) ## Run the tests that take a control plane: Kubernetes 1.37, or KUBERNETES=1.36
	@$(BIN)/python -m tests.e2e.controlplane.binaries
	$(BIN)/pytest tests/e2e

flyte: $(SETUP) ## Run the tests that take a real Flyte too; FAST=1 leaves the slow ones out
	@$(BIN)/python -m tests.e2e.controlplane.binaries
	@$(BIN)/python -m tests.e2e.flyte.programs
	$(BIN)/pytest tests/e2e/flyte $(if $(FAST),-m "not slow") $(ARGS)

$(RELEASE)/.complete: tests/release/requirements.txt
	$(PYTHON) -m venv --clear $(RELEASE)
	$(RELEASE)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/release/requirements.txt
	touch $@

check: lint workflows audit ## Run all linters, the audit of dependencies, and the tests with their coverage
	$(MAKE) test COVERAGE=1

lint: $(SETUP) ## Run formatter, linters, types, and import contracts
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

workflows: $(RELEASE)/.complete ## Lint the workflows with zizmor, and with actionlint, which takes Go
	$(RELEASE)/bin/zizmor --offline --quiet .github
	cd tests/release/actionlint && go tool actionlint $(foreach file,$(wildcard .github/workflows/*.yaml),../../../$(file))

audit: $(RELEASE)/.complete ## Look up the dependencies of the programs among known vulnerabilities
	$(RELEASE)/bin/python tests/release/audit.py $(RELEASE)/bin/pip-audit --require-hashes --disable-pip --format json \
		--progress-spinner off --requirement requirements.txt

format: $(SETUP) ## Format the code and mend what the linter can
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

schema: $(SETUP) ## Write what is made from the code: the policy's JSON Schema, the chart's README, docs/reference.md
	$(BIN)/python -m tests.manifests.policy_schema
	$(BIN)/python -m tests.manifests.chart_readme
	$(BIN)/python -m tests.docs.reference

lock: ## Update the locked versions: pyproject.toml to requirements*.txt, for the programs alone, for their wheel, for everything; and the tools of a release
	$(LOCK) --upgrade --output-file requirements.txt pyproject.toml
	$(LOCK) --upgrade --constraint requirements.txt --group dev --output-file requirements-dev.txt pyproject.toml
	$(LOCK) --upgrade --group flyte --output-file tests/e2e/flyte/requirements.txt
	$(LOCK) --upgrade --constraint requirements-dev.txt --group build --output-file requirements-build.txt
	$(LOCK) --upgrade --output-file tests/release/requirements.txt tests/release/requirements.in

version: ## Print the version
	@sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml

wheel: $(SETUP) ## Build the wheel into dist
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

sbom: $(RELEASE)/.complete ## Write the bill of materials, in CycloneDX, to dist/sbom.cdx.json
	mkdir -p dist
	PYTHONWARNINGS=ignore $(RELEASE)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.cdx.json \
		requirements.txt

image: ## Build the image on the base image BASE if that is given, with CONTAINER=buildah, docker or podman
	$(CONTAINER) build $(if $(BASE),--build-arg BASE=$(BASE)) --tag $(or $(IMAGE),flyte-admission:0.1.0) .

bench: $(SETUP) ## Measure: all of benchmarks/, or one with NAME=, such as NAME=throughput
	@for name in $(or $(NAME),$(BENCHMARKS)); do $(BIN)/python benchmarks/$$name.py || exit; echo; done

clean: ## Remove what the targets made
	rm -rf .venv .venv-release dist .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
