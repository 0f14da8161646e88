# The two commands: `make run` and `make test`. Everything they need is set up first.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/complete

# The first interpreter that is 3.11-3.13 and can make a virtual environment; PYTHON=... overrides.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(FITS)' >/dev/null 2>&1 && { command -v "$$p"; break; }; done)

.PHONY: env run test lint docs bench soak sbom audit lock image clean
env: $(STAMP)

$(STAMP): requirements-dev.txt requirements-bootstrap.txt pyproject.toml .ci/make_env.py
	@test -n "$(PYTHON)" || { echo "env: no Python 3.11-3.13 with its venv module found;" \
		"install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@"$(PYTHON)" .ci/make_env.py

# CONFIG=NAME or a TOML file; the sample's data is prepared on the way.
CONFIG ?= mnist-sample
SAMPLE := .work/data/mnist-sample

run: $(STAMP) $(if $(filter mnist-sample,$(CONFIG)),$(SAMPLE))
	@$(PY) -m pipeline run --config "$(CONFIG)"

$(SAMPLE): | $(STAMP)
	@$(PY) -m pipeline data mnist-sample --output $@

# A process per core, at most four: each takes 2 GB. A file's tests stay in one process, and the
# files in their order: sorted by the number of tests, the longest ones would come last.
# COVERAGE=1 also says which lines no test runs, and fails below the share in pyproject.toml.
test: $(STAMP)
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		$(if $(COVERAGE),--cov --cov-report=term)

lint: $(STAMP)
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy

# The page of all keys, from the settings.
docs: $(STAMP)
	@$(PY) -m pipeline.config.reference > docs/configuration.md

# IDX=DIR: a folder with the four MNIST files; without it the embedded sample stands in.
BENCHMARKS := $(subst /,.,$(basename $(wildcard tests/benchmarks/bench_*.py)))
bench: $(STAMP)
	@for benchmark in $(BENCHMARKS); do \
		$(PY) -m $$benchmark $(if $(IDX),--idx "$(IDX)") || exit 1; done

# NIGHTS scheduled runs with new data each night: what they leave, one JSON line a night.
NIGHTS ?= 50
soak: $(STAMP)
	@$(PY) -m tests.faults.soak --nights $(NIGHTS)

# What is installed (CycloneDX), and what is known to be wrong with the locked versions.
TOOL = $(VENV)/bin/uv tool run --python $(PY)
sbom: $(STAMP)
	@$(TOOL) --from 'cyclonedx-bom==7.*' cyclonedx-py environment $(PY) --pyproject pyproject.toml \
		--output-reproducible -o sbom.json

# SERVICE=pypi: the configured index of packages; osv: the database of that name.
SERVICE ?= pypi
audit: $(STAMP)
	@$(PY) .ci/audit.py --service "$(SERVICE)"

# Locks the versions that pyproject.toml allows, for every Python and platform at once.
COMPILE = $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
lock: $(STAMP)
	$(COMPILE) --group bootstrap -o requirements-bootstrap.txt
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

# IMAGE=REGISTRY/NAME:TAG, BASE=Debian 13, Ubuntu 24.04 or newer, PIP_CONFIG=pip.conf of a private index,
# BUILD_FLAGS=more options of `docker build`
IMAGE ?= triplet:$(shell git rev-parse --short HEAD)
BASE ?= debian:13-slim
comma := ,
image:
	@DOCKER_BUILDKIT=1 docker build -f kubeflow/Dockerfile --build-arg BASE="$(BASE)" $(BUILD_FLAGS) \
		$(if $(PIP_CONFIG),--secret id=pip$(comma)src="$(PIP_CONFIG)") -t "$(IMAGE)" .
	@docker image inspect --format '{{.Size}}' "$(IMAGE)" | awk '{printf "$(IMAGE): %.2f GB\n", $$1 / 1e9}'

clean:
	rm -rf $(VENV) .work build *.egg-info
