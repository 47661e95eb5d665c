# make help lists the targets. PREFIX, INSTANCE, CC_MOUNT, CC_STATE and CC_RUN may be set.
ARCH    ?= $(shell go env GOARCH)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO      := CGO_ENABLED=0 GOARCH=$(ARCH) go
LDFLAGS := -s -w -X github.com/containercloud/cc/build.version=$(VERSION)
BUILTIN := runtime/image/builtin/builtin_$(ARCH).tar.zst
.PHONY: help build builtin up down test test-race bench lint docs install clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(BUILTIN) ## bin/ccd, bin/cc and bin/cc-keeper (ARCH=arm64 for the other architecture)
	@mkdir -p bin
	@echo "building ccd, cc and cc-keeper; the first time takes about a minute"
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/ccd ./cmd/cc ./cmd/cc-keeper

builtin: $(BUILTIN) ## the image that needs no network: a u-root userland
$(BUILTIN): go.mod $(wildcard runtime/image/builtin/gen/*.go runtime/image/builtin/cmd/*/*.go)
	@echo "building the builtin image, once"
	go run ./runtime/image/builtin/gen -arch $(ARCH) -o $@

up: build ## start the daemon and wait until /cc answers (root)
	scripts/up

down: ## stop every container, the daemon and the mount
	scripts/down

test: build ## everything: unit tests, the tree over FUSE with real tools, scenarios (root, under 15 minutes)
	scripts/test

test-race: ## the packages where goroutines meet, with the race detector, and the tree on one processor
	scripts/test-race

bench: build ## measure against crun, runc and podman; writes docs/BENCHMARKS.md
	scripts/bench

lint: ## gofmt, vet, staticcheck, go.mod, scripts (that ccinit and golden files are up to date is tested)
	scripts/lint

docs: build ## write docs/manual from the same rows as /cc/doc
	bin/ccd --manual docs/manual

install: build ## into PREFIX (default /usr/local), with the systemd unit
	scripts/install

clean: ## remove what was built
	rm -rf bin runtime/image/builtin/*.tar.zst
