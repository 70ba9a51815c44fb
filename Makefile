# What to run, here and in CI. `make` alone says what there is.
GO         ?= go
VERSION    ?= 0.1.0-dev
GOFLAGS_BUILD = -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   = $(GO) run gotest.tools/gotestsum@v1.13.0
CORES       = ./states ./membership ./ring ./store ./executor ./mesh ./internal/codec
FUZZTIME   ?=
FUZZTOTAL  ?= 600
SEEDS      ?= 2000
FROM       ?= 1
NODES      ?= 200
LOSSES     ?= 0,10,25
CUTS       ?= 1m,1h
QUIET      ?= 1h
SIMULATE    = $(GO) run -tags fastverify ./cmd/simulate

NFPM        = $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0

.PHONY: help build build-simulate deb demo test check race bench bench-peers fuzz lab sim sim-mutants sim-large sim-membership sim-replay sim-planted clean attacks attacks-planted vulncheck

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the one static binary, bin/shoal
	@CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -o bin/shoal ./cmd/shoal

build-simulate: ## bin/shoal-simulate, which rehearses a push on a fleet in memory
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -tags fastverify -o bin/shoal-simulate ./cmd/shoal-simulate

deb: build ## a Debian package of it, bin/shoal.deb
	@sed 's|/usr/local/bin/shoal|/usr/bin/shoal|' docs/shoal.service >bin/shoal.service
	@VERSION="$(VERSION)" ARCH="$$($(GO) env GOARCH)" $(NFPM) package --config packaging/nfpm.yaml --packager deb --target bin/shoal.deb

demo: build ## five machines on loopback: push, crash, drift, failure, removal, each of them checked
	@$(GO) run ./cmd/demo -shoal bin/shoal -tree examples/webfleet

test: ## all tests, with what they need installed first where this is root on Debian
	@./scripts/prepare.sh
	@$(GOTESTSUM) --format pkgname -- -timeout 15m ./...

check: ## format, vet, lint, tidy, import rules, the model of the registers, race tests of the cores
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt: the files above are not formatted"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) mod tidy -diff
	$(GO) test ./internal/arch
	$(GO) test -count=1 -run '^TestModel' ./store
	$(MAKE) --no-print-directory race

race: ## the cores under the race detector
	@./scripts/prepare.sh
	CGO_ENABLED=1 $(GO) test -race -short -timeout 15m $(CORES)

bench: build ## how fast, as ratios against a twin in the same run
	@$(GO) run ./cmd/bench -shoal bin/shoal

bench-peers: build ## the same work by Ansible, Puppet and CFEngine, installed from Debian into a throw-away root (root, Linux)
	@$(GO) run ./cmd/bench -shoal bin/shoal -only peers

fuzz: ## every fuzz target, ten minutes in all: [FUZZTOTAL=seconds] or [FUZZTIME=60s] each
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" FUZZTOTAL="$(FUZZTOTAL)" ./scripts/fuzz.sh

attacks: ## what a member with bad intent and a stranger try: none succeeds
	@$(GO) test -count=1 ./simulation/attacks

attacks-planted: ## take out, for each attack, the one check that stops it, and see it succeed: [ATTACK=name]
	@$(GO) test -timeout 60m -count=1 -run TestPlanted ./simulation/attacks -planted $(if $(ATTACK),$(ATTACK),all) -v

vulncheck: ## known vulnerabilities of what is linked, where the database can be reached
	@GO="$(GO)" ./scripts/vulncheck.sh

lab: deb ## real hosts in namespaces of this machine, with systemd, apt and a network of their own (root, Linux)
	@./scripts/prepare.sh
	@SHOAL_LAB=all $(GOTESTSUM) --format testname --hide-summary=output -- -count=1 -timeout 60m ./simulation/lab/...

sim: ## whole meshes in virtual time under every fault: SEEDS=20000 [FROM=1] [STRETCH=60] · SEED=7 [TIMELINE=1] · CASE=file
	@$(SIMULATE) $(if $(CASE),-case $(CASE),$(if $(SEED),-seed $(SEED),-seeds $(SEEDS) -from $(FROM))) $(if $(STRETCH),-stretch $(STRETCH)) $(if $(TIMELINE),-timeline)

sim-mutants: ## plant bugs, and see how many seeds it takes to find each: [MUTANT=name] [SEEDS=…]
	@$(SIMULATE) -mutants $(if $(MUTANT),-mutant $(MUTANT)) -seeds $(SEEDS)

sim-large: build-simulate ## 200 whole nodes in virtual time: join, push, all applied, without faults and with them
	@bin/shoal-simulate - simulation/bubble/testdata/large/quiet.scenario
	@bin/shoal-simulate - simulation/bubble/testdata/large/faults.scenario

sim-membership: ## the gossip alone, measured: deaths, hints, partitions [NODES=200] [LOSSES=0,10,25] [CUTS=1m,1h] [QUIET=1h]
	@$(SIMULATE) -membership -nodes $(NODES) -losses "$(LOSSES)" -cuts "$(CUTS)" -quiet $(QUIET)

sim-replay: ## build bin/shoal-simulate-exact, over changes to the Go runtime, and run one scenario twice: the traces are equal
	@GO="$(GO)" ./scripts/replay.sh

sim-planted: ## plant bugs in the node, the gossip and the executor, and see which scenario finds each
	@$(GO) test -timeout 60m -count=1 -v -run TestPlantedBugs ./simulation/bubble -planted all

clean: ## remove what was built
	rm -rf bin
