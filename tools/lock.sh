#!/bin/sh
# Resolves requirements/*.txt from pyproject.toml: universal, hashed, naming no host and no path.
set -eu
cd "$(dirname "$0")/.."
compile() { .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 "$@"; }
compile --extra agent --extra server --extra simulators --group build pyproject.toml -o requirements/run.txt
compile --extra agent --extra server --extra simulators --group build --group test pyproject.toml -c requirements/run.txt -o requirements/test.txt
compile --group supply -c requirements/test.txt pyproject.toml -o requirements/supply.txt
compile --group fuzz -c requirements/test.txt pyproject.toml -o requirements/fuzz.txt
compile --group node pyproject.toml -o requirements/node.txt
