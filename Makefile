# The commands a newcomer needs. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo
TESSERA := target/release/tessera
STEPS := tests/fixtures/steps
DEVICE ?= cuda:0
PYTHON ?= python3

.PHONY: help setup build demo check test bench gpu-check recipes fixtures clean

help: ## Lists the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## Installs the system packages that are missing: LLVM and MLIR 22, lld.
	@scripts/setup.sh

build: setup ## Builds the release binary, target/release/tessera.
	$(CARGO) build --release --locked

demo: build ## Trains a small Llama for 20 steps, exported from JAX, compiled here.
	$(TESSERA) run $(STEPS)/llama/step.mlir --inputs $(STEPS)/llama/inputs.toml --steps 20

check: setup ## Formatting, lints and documentation, warnings refused.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

test: setup ## All tests.
	$(CARGO) test --locked --workspace

bench: build ## Our step and compile times beside XLA's on this machine, in one run. Needs Python 3.11 or newer.
	@scripts/bench.sh

gpu-check: build ## The tests of GPU kernels on GPU cuda:0 (DEVICE=cuda:N for another), then its kernels' times beside rooflines.
	TESSERA_DEVICE=$(DEVICE) $(CARGO) test --release --locked -p tessera-runtime -p tessera-targets --test bundle --test kernels
	@$(PYTHON) scripts/gpu_check.py --device $(DEVICE)

recipes: build ## Error, gradients and loss of each recipe beside f32, on a small Llama. Needs Python 3.11 or newer; takes long.
	@scripts/python.sh scripts/recipes/compare.py

fixtures: ## Makes the test fixtures anew with JAX and ml_dtypes. Needs Python 3.11 or newer.
	@scripts/python.sh tests/fixtures/jax/make_fixtures.py
	@scripts/python.sh compiler/numerics/tests/golden/make.py

clean: ## Removes what was built.
	$(CARGO) clean
