# Every target sets up what it needs: `make demo` and `make test` are all that a newcomer types.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
# Tests start many Java processes that live for a minute: the compiler for long runs would take half of their time.
TESTS := JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 $(BIN)/pytest

.PHONY: help demo cluster test check lint fix unit it chaos bench bench-cluster proto lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml deploy/setup
	@PYTHON=$(PYTHON) deploy/setup
	@touch $(READY)

demo: $(READY) ## the whole product on this machine over sample traffic: traces, tokens, latency, cost
	@$(BIN)/spanmill demo

cluster: $(READY) ## Kafka, a Flink session cluster, the store, Postgres and the gateway on this machine, until Ctrl-C
	@deploy/postgres
	@$(BIN)/spanmill cluster up

test: lint unit it ## everything that must hold, fast suites first

lint: $(READY) ## ruff, pyright, import direction; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --threads
	@$(BIN)/lint-imports --no-cache

fix: $(READY) ## what ruff can mend by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

unit: $(READY) ## pure steps and single services
	@$(TESTS) tests --numprocesses auto --maxprocesses 4 --dist worksteal

it: $(READY) ## the whole product with its real broker, Flink, engine and clients
	@deploy/postgres
	@deploy/prometheus/install
	@$(TESTS) integration_tests --numprocesses 2 --dist loadfile --no-loadscope-reorder

chaos: $(READY) ## SEEDS=n drawn crash scenarios on a real cluster, at full length; SEED=s plays one again
	@deploy/postgres
	@$(BIN)/python -m integration_tests.chaos $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),5))

bench: $(READY) ## rates, latencies, sizes and memory, printed in one run
	@$(BIN)/python -m benchmarks

bench-cluster: $(READY) ## the same on a Kafka and Flink cluster, one core against two, recovery and upgrade times
	@deploy/postgres
	@$(BIN)/python -m benchmarks.cluster

proto: $(READY) ## generate schemas/budget_pb2* from schemas/budget.proto again
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. schemas/budget.proto

lock: $(READY) ## resolve pyproject.toml again into requirements.lock
	@uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header pyproject.toml --group dev --output-file requirements.lock

clean: ## remove what the targets above have made, but not data
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis
