# `make help` lists the targets. What has to be there first: Go, Python, GNU make and git (scripts/check-tools names what
# is missing). A second run of any target needs no network.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

GOLANGCI_LINT_VERSION := v2.15.0
NATSCLI_VERSION := v0.5.1

# The version that the programs state, main.version of each.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Additional flags for `go test`, the time that each fuzz test, the walk and chaos get, the seed of chaos (empty: another one each
# time), the size of a large log in MB, the requests that schemathesis makes of each operation in a phase, and flags for what
# `make run` and `make bench` run.
TESTFLAGS ?=
FUZZTIME ?= 30s
WALK ?= 1h
MINUTES ?= 60
SEED ?=
MEGABYTES ?= 100
EXAMPLES ?= 100
ARGS ?=

# How many tests of a package run at once, of two packages on two cores: many of them wait for something, others keep a core busy.
PARALLEL ?= $(shell expr 1 + $$(nproc))

# The race detector needs a C compiler, without which Go says CGO_ENABLED=0. The tests then still run.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# What a test does that cannot do what only root can, such as to mount: fail where root can, else it is skipped. Empty: skipped.
NETLAB_TEST_ROOT ?= $(if $(filter 0,$(shell id -u)),$(shell unshare -m mount -t tmpfs none /tmp 2> /dev/null && echo required))

PROGRAMS := bin/netlab-api bin/netlab-worker bin/netlab-graph

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: check-tools
check-tools:
	@scripts/check-tools

.PHONY: build
build: venv $(PROGRAMS) bin/nats-server nats ## Build the programs into bin/: netlab-api, netlab-worker, netlab-graph, nats-server and nats; and set up .venv

# Go itself knows best what has to be built anew. It does not ask git (-buildvcs), which may refuse a checkout of another
# user's; the version says what git knows.
.PHONY: $(PROGRAMS) bin/nats-server
$(PROGRAMS): bin/netlab-%: check-tools
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o $@ ./cmd/$*

# Of the version in go.mod, so that it is the one that the API embeds.
bin/nats-server: check-tools
	go build -trimpath -buildvcs=false -o $@ github.com/nats-io/nats-server/v2

.PHONY: nats golangci-lint
nats: check-tools
	@scripts/go-tool nats github.com/nats-io/natscli $(NATSCLI_VERSION) github.com/nats-io/natscli/nats

golangci-lint: check-tools
	@scripts/go-tool golangci-lint github.com/golangci/golangci-lint/v2 $(GOLANGCI_LINT_VERSION) \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: venv
venv: check-tools ## Install Netlab and Ansible into .venv, as requirements.txt says
	@scripts/venv .venv requirements.txt

.PHONY: venv-schemathesis
venv-schemathesis: check-tools
	@scripts/venv .venv-schemathesis test/schemathesis/requirements.txt

.PHONY: previous-release
previous-release: check-tools
	@scripts/previous-release

.PHONY: test
test: build venv-schemathesis previous-release vet lint ## Run all tests, with vet, the linters and the race detector
	@$(if $(RACE),,echo "No C compiler (or CGO_ENABLED=0): testing without the race detector.")
	NETLAB_TEST_ROOT=$(NETLAB_TEST_ROOT) \
	NETLAB_TEST_PREVIOUS=$$(git cat-file -e "$$(cat test/previous-release)^{commit}" 2>/dev/null && echo required) \
		go test $(RACE) -count=1 -timeout 30m -parallel $(PARALLEL) $(TESTFLAGS) ./...
	@scripts/fuzz-briefly $(RACE)

.PHONY: vet
vet: check-tools
	go vet ./...

.PHONY: lint
lint: golangci-lint ## Run the linters, which hold what each package may import, too
	bin/golangci-lint run ./...

.PHONY: fmt
fmt: golangci-lint ## Format the Go code
	bin/golangci-lint fmt ./...

.PHONY: docs
docs: check-tools ## Write docs/settings.md from the code
	NETLAB_TEST_WRITE=1 go test -count=1 -run '^TestDocument$$' ./internal/settings

# The samples of what this tree writes, of which every later release has to make the same: "next", until a release has its own.
RELEASE ?= next
.PHONY: fixtures
fixtures: venv ## Write samples of each message and file format into testdata/formats/next, or into RELEASE's folder
	NETLAB_TEST_WRITE=$(RELEASE) go test -count=1 -run '^TestFormats$$' ./internal/bus ./internal/exec ./internal/view ./internal/worker

.PHONY: bench
bench: venv ## Run the benchmarks of docs/performance.md; ARGS are their flags, such as ARGS="-short -run post" or ARGS=-grow
	go run ./test/bench $(ARGS)

# The working tree against the previous release, or two other revisions: BASE and HEAD, of the command line alone.
BASE =
HEAD =
.PHONY: bench-compare
bench-compare: venv ## Run the benchmarks of two revisions (BASE, HEAD) in turns and say what changed; ARGS such as ARGS="-run 'post|get'"
	go run ./test/benchcompare $(if $(BASE),-base $(BASE)) $(if $(HEAD),-head $(HEAD)) $(ARGS)

.PHONY: walk
walk: build ## Run random jobs and sabotage for WALK (1h), to find a lab that no action gets out of its state
	NETLAB_TEST_WALK=$(WALK) go test -count=1 -timeout 0 -v -run '^TestWalk$$' ./test/e2e

.PHONY: chaos
chaos: build ## Let whatever can go wrong do so for MINUTES (60), and hold every promise to what was seen; SEED repeats a run's faults
	NETLAB_TEST_CHAOS=$(MINUTES)m NETLAB_TEST_SEED=$(SEED) go test -count=1 -timeout 0 -v -run '^TestChaos$$' ./test/e2e

.PHONY: large-log
large-log: build ## Write a log of MEGABYTES (100), and hold what the bus and every API have of it to what was written
	NETLAB_TEST_LOG=$(MEGABYTES) go test -count=1 -timeout 0 -v -run '^TestALargeLogIsWhole$$' ./test/e2e

.PHONY: schemathesis
schemathesis: build venv-schemathesis ## Hold the running service to its OpenAPI document with schemathesis; EXAMPLES (100) an operation
	NETLAB_TEST_SCHEMATHESIS=$(EXAMPLES) go test -count=1 -timeout 0 -v -run '^TestSchemathesis$$' ./test/e2e

.PHONY: fuzz
fuzz: check-tools ## Run every fuzz test for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: run
run: build ## Run the service with a worker in the foreground, its data in .run/; ARGS are further flags
	NETLAB_API_DATA_DIR="$${NETLAB_API_DATA_DIR:-$(CURDIR)/.run}" \
	NETLAB_WORKER_PYTHON="$${NETLAB_WORKER_PYTHON:-$(CURDIR)/.venv/bin/python}" \
	NETLAB_WORKER_ROOTS="$${NETLAB_WORKER_ROOTS:-$(CURDIR)/.run/labs,/home}" \
	NETLAB_RUN_AS_USER="$${NETLAB_RUN_AS_USER-$$([[ $$(id -u) != 0 ]] || echo root)}" \
	NETLAB_BUS_LISTEN="$${NETLAB_BUS_LISTEN-$$([[ -n "$${NETLAB_BUS_URL:-}" ]] || echo 127.0.0.1:4222)}" \
	exec bin/netlab-api --with-worker $(ARGS)

.PHONY: demo
demo: build ## Watch a real Netlab run go through the whole system
	@.venv/bin/python scripts/demo

.PHONY: clean
clean: ## Remove all that make made: bin/, .venv/, .venv-schemathesis/, .previous/ and .run/
	rm -rf bin .venv .venv-schemathesis .previous .run
