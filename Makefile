# What people call. Everything else is a subcommand of katalyst-e2e (`cargo run -p katalyst-e2e -- --help`).
#
#   make test                      unit and property tests; no cluster, no root
#   make cluster-up [VMS=1] [HOLLOW=100]   a real Kubernetes 1.36 cluster on this machine
#   make demo                      the main job, to look at
#   make e2e                       scenarios on a cluster of their own
#   make e2e-host, make e2e-vm     scenarios of one node's agent on this kernel, and in virtual machines
#   make kind-up, make e2e-kind    the same on kind
#   make bench, make report        figures

SHELL      := /bin/bash
CARGO      ?= cargo
TARGET     ?= $(shell rustc -vV | sed -n 's/^host: //p')
E2E        := $(CARGO) run --quiet --locked -p katalyst-e2e --bin katalyst-e2e --
STATIC     := RUSTFLAGS="-C target-feature=+crt-static"
BINARIES   := target/$(TARGET)/release
CACHE      := $(or $(KATALYST_CACHE),$(HOME)/.cache/katalyst-e2e)
KUBECTL    := $(or $(wildcard $(CACHE)/bin/kubectl),kubectl)
VMS        ?= 0
HOLLOW     ?= 0
KUBECONFIG_LOCAL = $(shell $(E2E) cluster kubeconfig)
KUBECONFIG_KIND  = $(shell $(E2E) kind kubeconfig)

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build test lint fmt crds
build: ## Build everything (debug)
	$(CARGO) build --locked --workspace --all-targets

test: ## Unit and property tests: no cluster, no root
	@mkdir -p target/reports
	set -o pipefail; $(CARGO) test --locked --workspace --all-targets --no-fail-fast 2>&1 | tee target/test.log; status=$$?; \
	  $(E2E) unit-tests target/test.log && exit $$status

lint: ## Formatting and lints, as CI judges them
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

crds: ## Write crds/yaml from the types
	$(CARGO) run --quiet --locked -p katalyst-crds --bin crdgen

.PHONY: toolchain binaries images
toolchain: ## Build the pinned Kubernetes programs for test clusters (once; about 10 minutes cold)
	$(E2E) toolchain build

# Static, so that an image holds one file and a virtual machine needs no library.
binaries: ## Static release binaries of the product and the demo workloads
	$(STATIC) $(CARGO) build --locked --release --target $(TARGET) \
	  -p katalyst-node-agent -p katalyst-scheduler-extender -p katalyst-controllers -p katalyst-e2e --bin katalyst-node-agent --bin katalyst-scheduler-extender --bin katalyst-controllers --bin katalyst-workload

images: toolchain binaries ## Container images as OCI archives, without a container engine
	$(E2E) image build --binaries $(BINARIES)

.PHONY: cluster-up cluster-down cluster-status
cluster-up: images ## Start a cluster on this machine (VMS=n virtual machines, HOLLOW=n kwok nodes)
	$(E2E) cluster up --vms $(VMS) --hollow $(HOLLOW)

cluster-down: ## Stop it and leave nothing behind
	$(E2E) cluster down

cluster-status: ## What runs
	$(E2E) cluster status

.PHONY: kind-up kind-down
kind-up: images ## Start a kind cluster with the scheduler configured and our images loaded
	$(E2E) kind up

kind-down: ## Stop it and leave nothing behind
	$(E2E) kind down

.PHONY: install uninstall
install: ## Install on the cluster of `make cluster-up`
	$(KUBECTL) --kubeconfig $(KUBECONFIG_LOCAL) apply -k manifests/overlays/local

uninstall: ## Remove from it
	$(KUBECTL) --kubeconfig $(KUBECONFIG_LOCAL) delete -k manifests/overlays/local --ignore-not-found

.PHONY: demo e2e e2e-kind bench report
demo: images ## The main job: a service and batch work on one machine, with a live table and a summary (CLUSTER=kind: on kind)
	$(E2E) demo $(if $(filter kind,$(CLUSTER)),--overlay kind)

e2e: images ## All scenarios on a cluster of their own (with one virtual machine)
	$(E2E) suite local

e2e-kind: images ## Install, hold, squeeze and uninstall on kind
	$(E2E) suite kind --only install --only columns --only katalyst --only placed --only best-effort --only surge --only malformed --only uninstall

# One static file: scenarios, their processes and the agent.
.PHONY: e2e-host e2e-vm
e2e-host: ## Scenarios of one node's agent on this machine's kernel, in groups of their own (root)
	$(CARGO) run --quiet --locked -p katalyst-e2e --bin katalyst-node-scenarios -- host

e2e-vm: ## The same in virtual machines with several NUMA nodes (VM=name for one, ONLY=text for some)
	$(STATIC) $(CARGO) build --locked --release --target $(TARGET) -p katalyst-e2e --bin katalyst-node-scenarios
	$(E2E) vm scenarios --program $(BINARIES)/katalyst-node-scenarios $(if $(VM),--machine $(VM)) $(if $(ONLY),--only $(ONLY))

.PHONY: ci
ci: lint test e2e ## Everything that CI runs
	@$(E2E) unit-tests target/test.log | tail -n 1 | sed 's/^/unit: /'

bench: images ## Figures: loop latency, agent cost, controller recompute, pool plan, extender filter alone and over HTTP, kube-scheduler's rate
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-controllers --example recompute -- --nodes 1000 --report target/reports/bench-recompute.json
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-core --example plan_cost -- --report target/reports/bench-pools.json
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-scheduler-extender --example filter_cost -- --report target/reports/bench-filter.json
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-scheduler-extender --example http_cost -- --report target/reports/bench-http.json
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-e2e --bin katalyst-node-scenarios -- host -- --bench --driver cgroupfs --agent $(abspath $(BINARIES))/katalyst-node-agent
	$(E2E) bench
	$(E2E) bench-rate

.PHONY: bench-vm
bench-vm: ## The node's figures in a virtual machine: cgroup v2 with pressure triggers, emulated
	$(STATIC) $(CARGO) build --locked --release --target $(TARGET) -p katalyst-e2e --bin katalyst-node-scenarios
	$(E2E) vm scenarios --program $(BINARIES)/katalyst-node-scenarios --machine two-nodes --bench --limit 1800 --only surge --only cost-110

.PHONY: fuzz
fuzz: ## What is read from kernel, container runtime and kube-scheduler under the fuzzer, 5 CPU-minutes each (FUZZ_SECONDS=n, ONLY=kernel|nri|requests)
	$(E2E) fuzz $(if $(ONLY),--target $(ONLY))

.PHONY: soak
soak: ## A million interleavings of bindings, watch events, restarts and changes of leader: nothing is given twice (SOAK=n)
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-scheduler-extender --example soak -- $(if $(SOAK),--interleavings $(SOAK)) --report target/reports/soak.json

TRACES ?= ../shared/data
.PHONY: replay
replay: ## What the estimator would have offered on recorded load (TRACES=folder; synthetic load without)
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-simulator -- replay --traces $(TRACES) --report target/reports/replay.json

# Published rows that the reference predictors must reproduce; without the file the comparison is left out.
REFERENCE ?= $(wildcard ../shared/reference/peak_baselines.csv.gz)
.PHONY: sim-peak
sim-peak: ## Savings and violations of peak predictors on recorded load, ours within its budget (TRACES=folder, REFERENCE=file, ARGS='--only bb --ours-only')
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-simulator -- peak --traces $(TRACES) $(if $(REFERENCE),--reference $(REFERENCE)) --csv target/reports/sim-peak.csv --report target/reports/sim-peak.json $(ARGS)

.PHONY: sim-cluster
sim-cluster: ## A cluster of 1,000 nodes through a week of recorded services with a batch backlog (TRACES=folder, ARGS='--nodes 10000 --day')
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-simulator -- cluster --traces $(TRACES) --svg target/reports/sim-cluster.svg --report target/reports/sim-cluster.json $(ARGS)

OPENB ?= ../shared/data/openb
.PHONY: sim-gpu
sim-gpu: ## How well GPUs are packed on recorded clusters, against the published best (OPENB=folder, ARGS='--seeds 2 --traces default')
	$(STATIC) $(CARGO) run --quiet --locked --release --target $(TARGET) -p katalyst-simulator -- gpu --openb $(OPENB) --csv target/reports/sim-gpu.csv --report target/reports/sim-gpu.json $(ARGS)

report: ## Print every report of target/reports
	$(E2E) report
