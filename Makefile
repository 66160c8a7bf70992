# One developer interface: each target does all its own set-up, as root or not, and works from a fresh clone.
#
#   make run     the whole product with a demo fleet    PORT= DATA= HOST= (Ctrl-C stops it, a second run goes on)
#   make test    gates and every test                   make check   gates alone
#   make bench   figures, as ratios in one run (LONG=1: those of minutes, goes on where it stopped)
#   make clean   start over: state of make run and caches
#   make powercut  the power cut at every write and sync of a run, not at every tenth
#   make acl  every identity with every topic on the broker, will and retained messages not only with every third
#   make evil  20,000 commands of an attacker who owns broker, server and online keys, not 2,000   SEED=1
#   make crash  the agent's death at every boundary 50 times, 1,000 silent failures, 100,000 orders of trading and fixes
#   make chaos  the whole product under faults planned from a seed   RUNS=20 SEED=1 JOBS=1 (goes on where it stopped)
#   make contract   EXAMPLES=500 requests of each operation of the API, made from its own description
#   make supply   bill of materials, licences, known weaknesses, code and secrets of what an installation gets
#   make fuzz   every parser that sees foreign bytes   SECONDS=60 each (keeps what it found, goes on with it)
#   make wheel   dist/tillmedic-*.whl for installations
PY ?= python3
EXAMPLES ?= 1000
DATA ?= .run
RUNS ?= 20
SECONDS ?= 60
# The same sources make the same bytes: times in a wheel are those of the last change, not of the build.
EPOCH ?= $(shell git log -1 --format=%ct 2> /dev/null || echo 1577836800)
SEED ?= 1
BIN := .venv/bin
SETUP := PY="$(PY)" sh tools/setup.sh

.PHONY: run test check unit bench powercut acl evil chaos crash fuzz contract supply wheel model mutants lock generate clean distclean

run:
	@$(SETUP) run
	@$(BIN)/simulators demo --data "$(DATA)" $(if $(PORT),--port $(PORT)) $(if $(HOST),--host $(HOST))

check:
	@$(SETUP) check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@for tool in build_catalogue build_asyncapi build_openapi build_locale build_readme; do echo "$$tool --check"; $(BIN)/python tools/$$tool.py --check || exit 1; done
	$(BIN)/python -m pytest -q tests/architecture

# First what keeps the cores busy, then what mostly waits: whole products and browsers, one for each of three workers. Unix
# sockets need short paths, and each worker has a folder of its own.
test: check
	@$(SETUP) test
	@short=$$(mktemp -d /tmp/tm.XXXXXX) && trap 'rm -rf "$$short"' EXIT && echo "unit and integration tests, side by side" && \
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --basetemp "$$short/t" -m "not acceptance and not browser" && \
	echo "acceptance and browser tests, side by side" && \
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --basetemp "$$short/t" -m "acceptance or browser"

unit:
	@$(SETUP) check
	$(BIN)/python -m pytest -q -m "not integration and not acceptance and not browser"

bench:
	@$(SETUP) run
	$(BIN)/python -m tests.benchmarks $(if $(LONG),--long)

powercut:
	@$(SETUP) test
	POWERCUT_EVERY=1 $(BIN)/python -m pytest -q -s --timeout=1800 tests/faults

acl:
	@$(SETUP) test
	ACL_WHOLE=1 $(BIN)/python -m pytest -q tests/integration/broker/test_acl_matrix.py

evil:
	@$(SETUP) test
	EVIL_COMMANDS=20000 EVIL_SEED=$(SEED) $(BIN)/python -m pytest -q --timeout=600 tests/device_agent/core/test_evil_server.py

crash:
	@$(SETUP) check
	CRASH_SEEDS=50 SILENT_FAILURES=1000 INTERLEAVINGS=100000 $(BIN)/python -m pytest -q tests/device_agent/treatment

chaos:
	@$(SETUP) chaos
	$(BIN)/python -m tests.chaos run --runs $(RUNS) --seed $(SEED) $(if $(JOBS),--jobs $(JOBS))

supply:
	@$(SETUP) supply
	$(BIN)/python -m tools.supply

contract: EXAMPLES = 500
contract:
	@$(SETUP) test
	CONTRACT_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q --timeout=7200 tests/contract

fuzz:
	@$(SETUP) fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# The model of the whole pipe for as long as wanted, and faults put into the code that the tests must notice.
model:
	@$(SETUP) check
	MODEL_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q tests/model/test_pipe.py

mutants:
	@$(SETUP) check
	$(BIN)/python -m tools.mutants

# Writes every generated document anew.
generate:
	@$(SETUP) check
	@for tool in build_catalogue build_asyncapi build_openapi build_locale build_readme; do $(BIN)/python tools/$$tool.py || exit 1; done

# One wheel with everything in it; the extras agent, server and simulators name what each needs beside it.
wheel:
	@$(SETUP) run
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/uv build --quiet --wheel --no-build-isolation --out-dir dist .

# Resolves the locked, hashed package sets anew; they name no host.
lock:
	@$(SETUP) venv
	sh tools/lock.sh

clean:
	rm -rf "$(DATA)" .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz tests/screenshots

distclean: clean
	rm -rf .venv .stamps .tools node_modules fleet_server/console/static/vendor dist
