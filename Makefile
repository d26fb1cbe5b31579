# `make help` lists the targets. ARGS goes to what a target runs: make demo ARGS="--messages 100000"

# Elixir wants UTF-8 whatever the shell says; rustup's cargo is found in a shell that has not read its profile.
export LANG := C.UTF-8
export LC_ALL := C.UTF-8
export PATH := $(PATH):$(HOME)/.cargo/bin

# The NIF's crate cannot be linked into test executables; what it is made of stands in the other crates.
CARGO_TEST := cargo test --locked --workspace --exclude messaging_nif

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench console clean

help: ## List these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## Check for the tools needed, and install by apt what is missing
	@scripts/setup.sh

demo: setup ## Run the main job on a real broker, and once more through a crash of it
	mix compile
	mix amdgpu.demo $(ARGS)

test: setup ## Run all tests
	$(CARGO_TEST)
	mix test $(ARGS)

lint: setup ## Check format and warnings
	cargo fmt --all --check
	mix format --check-formatted
	cargo clippy --workspace --all-targets --locked -- -D warnings
	MIX_ENV=test mix compile --force --warnings-as-errors

format: setup ## Format all sources
	cargo fmt --all
	mix format

bench: setup ## Measure
	mix compile
	mix run bench/run.exs $(ARGS)

console: setup ## iex with a broker on localhost:6650
	ERL_AFLAGS="-kernel shell_history enabled" iex -S mix pulsar.standalone $(ARGS)

clean: ## Remove all that was built
	rm -rf _build target priv/native
