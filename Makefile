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

test: lint ## Everything that is tested, with the race detector and in shuffled order
	go test -json -race -shuffle=on ./... | go run ./.ci/report

bench: ## Benchmarks, ten rounds, in the form benchstat reads
	go test -run '^$$' -bench . -count 10 ./...


.PHONY: help build demo lint test bench
