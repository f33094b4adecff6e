# Every command here works from a fresh checkout with Go alone, but for `make e2e`, which
# needs Debian's packages and installs them where it may.

VERSION ?= $(shell internal/release/version.sh)
LDFLAGS := -s -w -X github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli.version=$(VERSION)
# The race detector needs a C compiler.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)
# The plugins are modules of their own: that for HSMs needs cgo, and that for AWS KMS the AWS SDK.
PLUGINS := cmd/notation-pkcs11 cmd/notation-awskms
# Programs of make lint are a module of their own. It prints where one was built.
TOOL = $$(go -C $(CURDIR)/internal/lint/tools tool -n $(1))
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: build demo test e2e e2e-policy e2e-policy-cluster lint bench fuzz mutate metrics pages picture release image

build: ## the product, as one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/dct2notation ./cmd/dct2notation

demo: build ## a migration against real servers in process, killed half way and resumed
	CGO_ENABLED=0 go build -o bin/demo ./cmd/demo
	bin/demo -binary bin/dct2notation

# The stories of cmd/dct2notation start the program some hundred times: with the race detector they took as
# long as all else together, and what they start is tested with it in its packages. The long tests of its verbs
# have a short form there, and their whole one without.
test: ## all tests that need nothing but Go
	go test $(RACE) -timeout 20m $$(go list ./... | grep -v '/cmd/dct2notation$$')
	go test ./cmd/dct2notation ./cmd/dct2notation/command
	go -C cmd/notation-pkcs11 test $(RACE) ./...
	go -C cmd/notation-awskms test ./... # the program under test is one that they build, without the detector

e2e: ## against notary-server, docker-registry, olareg, SoftHSM and the notation command
	internal/e2e/run.sh

e2e-policy: ## what policy writes, judged by the consumers' own definitions and commands; needs the Go module proxy
	cd internal/e2e-policy && go vet ./... && go test -count=1 -timeout 60m . # golden files are of another module: no cache sees them change

e2e-policy-cluster: ## what policy writes, obeyed on a real API server by Ratify, Gatekeeper, Kyverno and Flux, all built from Go modules
	cd internal/e2e-policy && nice go test -count=1 -timeout 120m ./cluster

lint: ## formatting, vet, staticcheck, other checks of code and spelling, import rules, and a static build for every platform
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w .'; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...
	go -C internal/lint/tools vet ./...
	go vet -vettool=$(call TOOL,vettool) ./...
	$(call TOOL,staticcheck) ./...
	$(call TOOL,revive) -set_exit_status -config internal/lint/tools/revive.toml ./...
	git ls-files -z '*.go' '*.md' '*.txtar' '*.yaml' '*.golden' | xargs -0 $(call TOOL,misspell) -error
	go mod tidy -diff
	go -C internal/lint/tools mod tidy -diff
	go -C internal/e2e mod tidy -diff
	go -C internal/e2e vet ./...
	$(call TOOL,actionlint) .github/workflows/*.yaml
	GOOS=windows go -C cmd/notation-pkcs11 vet ./...
	@for m in $(PLUGINS); do echo "lint $$m"; cd $(CURDIR)/$$m && go vet ./... && go vet -tags softhsm ./... && \
		go vet -vettool=$(call TOOL,vettool) -tags softhsm ./... && $(call TOOL,staticcheck) ./... && go mod tidy -diff || exit 1; done
	go test -run 'TestImportRules|TestProductNeedsNoC' ./internal/lint
	@for p in $(PLATFORMS); do echo "build $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null ./cmd/dct2notation || exit 1; done

bench: build ## dct2notation beside xargs and notation sign; limited keys, requests, memory, ledger, trust data; BENCH='-only many' is 100,000 items and takes long
	internal/e2e/bench.sh $(BENCH)

fuzz: ## each fuzz target for FUZZTIME
	@for m in . $(PLUGINS); do cd $(CURDIR)/$$m && for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 10x $$p || exit 1; done; done; done

mutate: ## breaks N lines of the core, one at a time (seed SEED), and lists what no test notices; takes an hour or so
	nice go run ./internal/mutate -n $(or $(N),300) -seed $(or $(SEED),1) -explained internal/mutate/explained.txt \
		-wider './migrate/... ./cmd/dct2notation/...' ./migrate ./migrate/verify ./migrate/undo ./dct/... ./notation/... ./state/...

pages: ## man pages, completions and the documents of a release, in bin/pages
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) go run ./cmd/dct2notation/internal/pages bin/pages \
		$$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null || git rev-parse HEAD)

picture: build ## README's picture of the report, docs/images/report.png, of a new demonstration; needs chromium
	CGO_ENABLED=0 go build -o bin/demo ./cmd/demo
	bin/demo -binary bin/dct2notation -html bin/report.html
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1 --window-size=1280,900 \
		--virtual-time-budget=10000 --screenshot=docs/images/report.png file://$(CURDIR)/bin/report.html

# Builds the tools the first time, which takes minutes. A tag is released by RELEASE= and a GITHUB_TOKEN.
RELEASE ?= --snapshot
release: pages ## archives, packages, bills of materials and SHA256SUMS for all platforms, in dist
	VERSION=$(VERSION) $$(go -C internal/release/tools tool -n goreleaser) release --clean $(RELEASE)

BASE ?= scratch
image: ## a container image, by docker, podman or buildah; BASE=IMAGE for plugins that need libc or .NET
	deploy/container/build.sh $(BASE)

metrics: ## how the code is laid out, in numbers: sizes, uses that run upward, tests beside their source
	go run ./internal/lint/metrics
