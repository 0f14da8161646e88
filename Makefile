# The two commands: `make run` and `make test`. Everything they need is set up first.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/complete

# The first interpreter that is 3.11-3.13 and can make a virtual environment; PYTHON=... overrides.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(FITS)' >/dev/null 2>&1 && { command -v "$$p"; break; }; done)

.PHONY: env run test lint bench clean
env: $(STAMP)

$(STAMP): requirements-dev.txt requirements-bootstrap.txt pyproject.toml .ci/make_env.py
	@test -n "$(PYTHON)" || { echo "env: no Python 3.11-3.13 with its venv module found;" \
		"install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@"$(PYTHON)" .ci/make_env.py

clean:
	rm -rf $(VENV) .work build *.egg-info
