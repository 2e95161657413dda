# Every target makes the checkout ready first (scripts/setup): a fresh clone needs python3, make and apt.
BIN := .venv/bin
# Two workers share the tests, whole files at a time: the fixtures of a file are made once. In the order of their
# names the quick ones come last. Those of storage come alone: zfs-fuse loses its patience beside others.
WORKERS := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup check lint test vm-test fuzz demo demo-clean bench docs lock format clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install all that development needs: packages, virtual environment
	@scripts/setup test

check: ## Lint, types, import rules and the fast tests; needs no root, takes under a minute
	@scripts/setup check
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

# mypy keeps a cache for one platform only: each gets its own.
lint:
	$(BIN)/ruff check src tests bench scripts
	$(BIN)/ruff format --check --quiet src tests bench scripts
	$(BIN)/mypy
	$(BIN)/mypy --platform freebsd --cache-dir .mypy_cache/freebsd src
	$(BIN)/lint-imports --no-logo

test: ## Every check and every test, for real: needs root, takes some minutes
	@scripts/setup test
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(WORKERS) --ignore-glob='*/contract/test_storage*.py'
	$(BIN)/python -m pytest tests/contract/test_storage*.py

vm-test: ## Tests of control groups version 2 and power cuts, in a virtual machine; needs root, takes many minutes
	@scripts/setup vm
	$(BIN)/python -m tests.vm

SECONDS ?= 600
fuzz: ## Fuzz the readers of Dockerfiles for SECONDS (600) each; keeps the corpus in .fuzz
	@scripts/setup check
	@for target in dockerfile trigger expansion ignore; do \
		$(BIN)/python -m tests.fuzz $$target .fuzz/$$target $(SECONDS) || exit 1; done

demo: ## From a Dockerfile to a running container, each command shown with its output; needs root
	@scripts/setup demo
	@$(BIN)/python scripts/demo.py

demo-clean: ## Stop the demo's daemon and remove all that it made
	@if [ -x $(BIN)/python ]; then $(BIN)/python scripts/demo.py --clean; fi

bench: ## Compare with podman, buildah and Docker on this machine; writes bench/results.md; needs root
	@scripts/setup bench
	@$(BIN)/python -m bench

docs: ## Write the reference pages and the manual pages from the code
	$(BIN)/python -m scripts.reference

lock: ## Write the lock files from what is installed in .venv
	$(BIN)/python scripts/lock.py

format: ## Format the code
	$(BIN)/ruff format src tests bench scripts
	$(BIN)/ruff check --fix src tests bench scripts

clean: demo-clean ## Remove the demo, the caches and the virtual environment
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build-output dist
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
