# What people do here often; `just` lists it.

default:
    @just --list

# everything a change must pass, as the CI does
ci:
    .ci/run

# all tests, on all cores
test *paths:
    pytest -n auto {{paths}}

# the quick tests: under a minute on two cores
fast:
    pytest -n auto -m "not slow and not long"

# tests that take minutes each
slow:
    pytest -n auto -m slow

# change one operator at a time, and see whether a test notices
mutants *words:
    python -m benchmarks.mutants {{words}}

lint:
    ruff check
    ruff format --check
    mypy
    lint-imports

# format, and mend what can be mended
format:
    ruff check --fix
    ruff format

bench *arguments:
    python -m benchmarks {{arguments}}

docs:
    python -m sphinx -W --keep-going -b html docs docs/_build/html
