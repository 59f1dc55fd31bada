# Everything lives in .venv: `make setup` fills it, the other targets set it up by themselves.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.complete
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
CODE := webhook certs examples tests benchmarks
BENCHMARKS := request_path throughput through_api_server scale quota hostile stalls start

.PHONY: help setup run serve test e2e check lint format schema lock image bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

test: $(SETUP) ## Run the tests but those of `make e2e`; ARGS=… chooses some, COVERAGE=1 measures their coverage
	$(if $(COVERAGE),$(BIN)/coverage erase)
	$(if $(COVERAGE),$(BIN)/coverage run -m pytest,$(BIN)/pytest) -n auto $(ARGS)
	$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage report)

e2e: $(SETUP) ## Run the tests that take a control plane: Kubernetes 1.37, or KUBERNETES=1.36
	@$(BIN)/python -m tests.e2e.controlplane.binaries
	$(BIN)/pytest tests/e2e

check: lint ## Run what `make lint` does, and the tests with their coverage
	$(MAKE) test COVERAGE=1

lint: $(SETUP) ## Run formatter, linters, types, and import contracts
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(SETUP) ## Format the code and mend what the linter can
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

schema: $(SETUP) ## Write the JSON Schema of the policy, and its copy in the chart
	$(BIN)/python -m tests.manifests.policy_schema

lock: ## Update the locked versions: pyproject.toml to requirements*.txt, for the programs alone, for their wheel, for everything
	$(LOCK) --upgrade --output-file requirements.txt pyproject.toml
	$(LOCK) --upgrade --constraint requirements.txt --group dev --output-file requirements-dev.txt pyproject.toml
	$(LOCK) --upgrade --constraint requirements-dev.txt --group build --output-file requirements-build.txt

image: ## Build the image with buildah, on the base image BASE if that is given
	buildah build $(if $(BASE),--build-arg BASE=$(BASE)) --tag $(or $(IMAGE),flyte-admission:0.1.0) .

bench: $(SETUP) ## Measure: all of benchmarks/, or one with NAME=, such as NAME=throughput
	@for name in $(or $(NAME),$(BENCHMARKS)); do $(BIN)/python benchmarks/$$name.py || exit; echo; done

clean: ## Remove what the targets made
	rm -rf .venv .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
