.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## Build bin/astray
	CGO_ENABLED=0 go build -trimpath -o bin/astray ./cmd/astray

demo: build ## Show everything at work: make demo ARGS="--duration 60s", ARGS="--events FILE"
	bin/astray demo $(ARGS)

lint: ## gofmt, go vet and staticcheck
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	go vet ./... ./.ci/report
	go tool staticcheck ./... ./.ci/report

# The race detector is linked by a C compiler.
RACE := $(if $(shell command -v "$$(go env CC)"),-race)

# Tests of whole worlds in one goroutine, which the race detector is too slow for. They skip themselves where it is at work; in detect
# they are those that call long, which sees to their names.
WORLDS := 'TestScenarios|InAWorld$$'

test: lint ## Everything that is tested, with the race detector and in shuffled order
	@$(if $(RACE),,echo "SKIPPED: the race detector; it needs a C compiler ($$(go env CC))")
	(go test -json -vet=off $(RACE) -shuffle=on ./...; go test -json -vet=off -run $(WORLDS) ./cmd/internal/scenario ./detect) | go run ./.ci/report

eval: build ## Measure detection on public sets and simulated worlds, and write EVALUATION.md
	go run ./cmd/internal/evaluate $(ARGS)

FAULTS := 'TestFaults|TwoInstances|UnknownVersion|StateFollows'

test-faults: ## Kill, freeze, cut off and refuse what there is and compare the tables: one line a case; SHORT=1 for CI's
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	ASTRAY_FAULTS=$(if $(SHORT),short,full) go test -count 1 -timeout 90m -run $(FAULTS) -v ./cmd/internal/app 2>&1 | tee $$log | \
	{ grep --line-buffered -E '^case |SKIPPED' || true; }; failed=$${PIPESTATUS[0]}; \
	awk '/^=== RUN / && $$3 != "TestFaults" { n++ } /^ *--- PASS: / && $$3 != "TestFaults" { good++ } /^ *--- SKIP: / { skipped++ } \
	END { printf "faults: %d of %d cases lost nothing, doubled nothing and alerted as if nothing had happened\n", good, n - skipped; exit good + skipped < n || n == 0 }' $$log || failed=1; \
	[ $$failed -eq 0 ] || { grep -vE '^(=== |case )' $$log | tail -n 400; exit 1; }

bench-e2e: ## Measure topic to table beside a plain copy loop, and the time to an alert's row: ARGS="--events N --rounds N"
	@mkdir -p bin
	go build -o bin/endtoend ./cmd/internal/endtoend
	bin/endtoend $(ARGS)

test-kafka: ## The tests that need Apache Kafka itself, which Java 17 and mvn bring here
	@if command -v java >/dev/null && command -v mvn >/dev/null; then \
		ASTRAY_TEST_KAFKA=1 go test -count 1 -timeout 15m -run '$(KAFKA_TESTS)' $(ARGS) ./ingest/kafka ./cmd/astray; \
	else echo "SKIPPED: the tests against Apache Kafka; they need java (17 or later) and mvn"; fi

KAFKA_TESTS := Listeners|Compression|PartitionsAre|MadeAnew|Apache|LargeMessages|AbortedT|OpenTransaction

bench: ## Benchmarks, ten rounds, in the form benchstat reads
	go test -run '^$$' -bench . -count 10 ./...


PLUGIN := dashboards/astray-app
NPM := nice -n 10 npm --prefix $(PLUGIN)

$(PLUGIN)/node_modules/.package-lock.json: $(PLUGIN)/package.json $(PLUGIN)/package-lock.json
	nice -n 10 npm ci --prefix $(PLUGIN) --ignore-scripts --no-progress --loglevel=error
	@touch $@

plugin-frontend: $(PLUGIN)/node_modules/.package-lock.json ## The Grafana app's pages into dashboards/astray-app/dist
	$(NPM) run build

PLATFORMS := linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64 windows_arm64

plugin-backend: ## The Grafana app's executables into dashboards/astray-app/dist, one for each of PLATFORMS
	@for p in $(PLATFORMS); do \
		os=$${p%_*}; arch=$${p#*_}; ext=; [ $$os = windows ] && ext=.exe; \
		echo "gpx_astray_$$p$$ext"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags '-s -w' -o $(PLUGIN)/dist/gpx_astray_$$p$$ext ./cmd/gpx_astray || exit 1; \
	done

plugin: plugin-frontend plugin-backend ## A directory that Grafana loads as it is: dashboards/astray-app/dist

$(PLUGIN)/harness/dist/main.js: $(PLUGIN)/node_modules/.package-lock.json $(shell find $(PLUGIN)/src $(PLUGIN)/harness -path '*/dist' -prune -o -type f -print 2>/dev/null)
	cd $(PLUGIN) && nice -n 10 node harness/build.mjs

test-ui: $(PLUGIN)/harness/dist/main.js ## Component tests, and browser tests of the real pages and backend (needs chromium)
	cd $(PLUGIN) && npx tsc --noEmit -p . && npx tsc -p tsconfig.tools.json && npx eslint src
	$(NPM) run test:ci
	cd $(PLUGIN) && nice -n 5 npx playwright test -c playwright.ui.config.ts --project=pages
	@if [ -n "$$GRAFANA_URL" ]; then $(NPM) run e2e; else echo "SKIPPED: the end-to-end tests; set GRAFANA_URL to a Grafana that has the plugin"; fi

screenshots: $(PLUGIN)/harness/dist/main.js ## Pictures of every page into docs/img; of the dashboards too where GRAFANA_URL names a Grafana
	@mkdir -p docs/img
	cd $(PLUGIN) && ASTRAY_PICTURES=1 nice -n 5 npx playwright test -c playwright.ui.config.ts --project=screenshots

plugin-zip: plugin ## The same as dist/astray-app.zip
	@mkdir -p dist && rm -f dist/astray-app.zip
	rm -rf dist/astray-app && cp -r $(PLUGIN)/dist dist/astray-app
	cd dist && python3 -m zipfile -c astray-app.zip astray-app

.PHONY: help build demo lint test test-kafka test-faults eval bench bench-e2e plugin plugin-backend plugin-frontend plugin-zip test-ui screenshots
