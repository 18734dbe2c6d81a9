# Everything that CI runs has a target here; .ci/run calls these and nothing else.
# Set V=… variables on the command line, for example: make fuzz FUZZTIME=1000000x

GO       ?= go
# Executions per fuzz target. A count, because a duration makes Go 1.26 fail
# now and then with "context deadline exceeded" (golang/go#75804).
FUZZTIME ?= 5000x
SOAK     ?= 90m
LONG     ?= 100

.PHONY: help build build-nocgo test race versitygw-check vet lint fmt fmt-check mutants fuzz format-check rules-check image image-check terraform-check interop bench-ingest bench-mirror bench-replay bench-fanout bench-latency bench-slow bench-scale bench-hostile long-archive soak tools ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the programs into bin/
	$(GO) build -o bin/ ./cmd/...

build-nocgo: ## prove that everything builds in pure Go
	CGO_ENABLED=0 $(GO) build ./...

test: ## run the tests, with a real MinIO and toxiproxy beside them
	CISTERN_MINIO=$$(scripts/minio) CISTERN_TOXIPROXY=$$(scripts/toxiproxy) $(GO) test ./...

race: ## run them under the race detector
	CISTERN_MINIO=$$(scripts/minio) CISTERN_TOXIPROXY=$$(scripts/toxiproxy) $(GO) test -race ./...

versitygw-check: ## the acceptance test of stores against the Versity S3 gateway
	CISTERN_VERSITYGW=$$(scripts/versitygw) $(GO) test -count=1 -run Versity ./segmentlog/bucket

vet: ## go vet
	$(GO) vet ./...

lint: ## golangci-lint, the version that scripts/golangci-lint pins
	scripts/golangci-lint run

fmt: ## format every Go file
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

fmt-check: ## fail if a Go file is not formatted
	@scripts/fmt-check

mutants: ## break the code in a hundred ways; the tests must notice each
	$(GO) run ./testing/mutants

fuzz: ## run every fuzz target FUZZTIME times
	scripts/fuzz $(FUZZTIME)

format-check: ## read new segments with zstd and with Python
	scripts/format-check

rules-check: ## check the alert rules, test them, and lint the metrics
	scripts/rules-check

image: ## build the container image
	scripts/image

image-check: ## build it with buildah, and run it until the first event is there
	scripts/image check

terraform-check: ## format, lint and, where providers can be had, validate terraform/
	scripts/terraform-check

interop: ## run Cistern between reference PDSes, a real MinIO and real clients
	CISTERN_MINIO=$$(scripts/minio) interop/run.sh

bench-ingest: ## ingest beside the reference relay; BENCH='-peer "" -n 50000' changes flags
	$(GO) run ./bench ingest -markdown $(BENCH)

bench-mirror: ## one upstream as a host, as a relay, and with --verify=off
	$(GO) run ./bench mirror -n 200000 -markdown $(BENCH)

bench-replay: ## replay beside the reference relay; BENCH='-tier sealed' for sealed segments
	$(GO) run ./bench replay -markdown $(BENCH)

bench-fanout: ## 500 live consumers beside the reference relay; BENCH='-peer "" -consumers 1000 -for 5m' changes flags
	$(GO) run ./bench fanout -markdown $(BENCH)

bench-latency: ## how old an event is at ten live consumers, beside the reference relay
	$(GO) run ./bench latency -markdown $(BENCH)

bench-slow: ## consumers that read slowly, pause or never read beside ten that do not; BENCH='-for 10m' changes flags
	$(GO) run ./bench slow -markdown $(BENCH)

bench-scale: ## 2,800 hosts at once in front of Cistern; BENCH='-rounds 1' changes flags
	$(GO) run ./bench scale -markdown $(BENCH)

bench-hostile: ## hosts that break the rules of the wire beside 200 that do not; BENCH='-rogues 1' changes flags
	$(GO) run ./bench hostile -markdown $(BENCH)

long-archive: ## the tests of the archive with LONG (100) times the events, beside a real MinIO
	CISTERN_MINIO=$$(scripts/minio) CISTERN_TOXIPROXY=$$(scripts/toxiproxy) CISTERN_LONG=$(LONG) $(GO) test -count=1 -timeout 3h -v -run 'Bucket|Restored|Paused' ./internal/relay

soak: ## the same for SOAK (90m) among hosts that fail; draws bin/soak.svg
	@mkdir -p bin
	$(GO) run ./bench soak -for $(SOAK) -plot $(CURDIR)/bin/soak.svg -markdown $(BENCH)

tools: ## install what lint and interop need into the cache
	scripts/golangci-lint version
	scripts/minio
	scripts/toxiproxy
	interop/run.sh --install-only

ci: ## what CI runs
	.ci/run
