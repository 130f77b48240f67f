# The same as the scripts, for those whose fingers type make.
.PHONY: demo check test lint ci lock clean

demo:
	scripts/demo

check:
	scripts/demo --check

test:
	scripts/test

lint:
	scripts/lint

ci:
	.ci/run

lock:
	scripts/lock --upgrade

clean:
	rm -rf .venv .demo dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
