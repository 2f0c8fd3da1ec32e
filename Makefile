# Everyday commands. `make` alone lists them. ARGS goes to the command: make test ARGS='-run TestSettle'.

.DEFAULT_GOAL := help
.PHONY: help demo test test-another-day test-short lint bench faults test-faults verify services-up services-down services-status fmt ci

GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := $(CURDIR)/.run/bin/golangci-lint-$(GOLANGCI_LINT_VERSION)

# The race detector watches everything but SQLite, whose code is translated from C, has one caller at a time and takes three times as long with it.
RACE := -race -gcflags='modernc.org/...=-race=false'
# All modules of the workspace in one run, so that the packages of one use the time in which those of another wait.
MODULES = $(shell go list -m -f '{{.Dir}}/...')

ARGS ?=
BENCH ?= .
SERVICES ?=
VERSIONS ?=
DURATION ?= 3m
SEED ?= 0
DAY ?= 1 year

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run the demo
	cd examples && go run ./demo $(ARGS)

test: test-short ## run all tests with the race detector, on real services that are started and stopped for it
	@command -v cc >/dev/null || scripts/install gcc libc6-dev
	@for language in python node java; do scripts/client-lib $$language >/dev/null || true; done
	@scripts/services with $(SERVICES) -- go test $(RACE) -count=1 -p 4 -parallel 4 -timeout 30m $(ARGS) $(MODULES)

test-another-day: ## run all tests as if today were DAY ('1 year', '2028-02-29 23:55', anything that date -d takes)
	@scripts/another-day '$(DAY)' $(MAKE) test

.PHONY: test-postgres-versions
test-postgres-versions: ## run the tests of the tables on PostgreSQL 12 to 18, and more on the first and the last (VERSIONS="12 16")
	@VERSIONS="$(VERSIONS)" scripts/postgres-versions $(ARGS)

test-short: ## run the tests that need only Go
	@go test -short -count=1 -p 4 $(ARGS) $(MODULES)

lint: $(GOLANGCI_LINT) ## check formatting, vet, linters, import rules and scripts
	@scripts/lint $(GOLANGCI_LINT)

bench: ## run the benchmarks (BENCH=regexp picks some)
	@scripts/services with $(SERVICES) -- sh -c "cd benchmarks && go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(ARGS) ./..."

faults: fault-servers ## run the fault audit on real servers and print its report (DURATION=30m, SEED=number)
	@cd tests && go run ./faults/audit -duration $(DURATION) -seed $(SEED) $(ARGS)

test-faults: fault-servers ## run a short fault audit, and forwarders that are broken on purpose, as tests; they want the machine to themselves
	@cd tests && OUTBOX_TEST_AUDIT=1 go test -count=1 -timeout 10m $(ARGS) ./faults

.PHONY: fault-servers
fault-servers:
	@command -v redis-server >/dev/null || scripts/install redis-server
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || scripts/install postgresql
	@scripts/kafka-lib >/dev/null || true

.PHONY: status-page
status-page: ## make the picture of the status page in docs
	@command -v chromium >/dev/null || scripts/install chromium
	@cd tests && OUTBOX_TEST_SCREENSHOT=$(CURDIR)/docs/status-page.png go test -count=1 -run TestScreenshot ./statuspage

verify: ## fail when generated files or go.mod files are stale
	@scripts/verify

services-up: ## start the services and leave them running
	@scripts/services up $(SERVICES)

services-down: ## stop them
	@scripts/services down $(SERVICES)

services-status: ## show them
	@scripts/services status $(SERVICES)

fmt: ## format all Go files
	gofmt -w .

ci: ## run what CI runs
	.ci/run

# Built once. A version that is pinned here must not depend on the workspace.
$(GOLANGCI_LINT):
	@mkdir -p $(@D)/build
	GOWORK=off GOFLAGS= GOBIN=$(@D)/build go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(@D)/build/golangci-lint $@
