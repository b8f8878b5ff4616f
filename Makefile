# make test is everything a change must pass. make long adds what takes longer.

SHELL := /bin/bash -o pipefail

.PHONY: test lint unit conformance e2e gates bench bench-bridge generate long fuzz crash

test: lint unit conformance e2e gates

# gofmt, go vet, staticcheck, govulncheck (where its data can be reached).
lint:
	.ci/lint

# Every package, with the race detector. Some drive programs from npm.
unit: e2e/node_modules/.installed
	go test -race -timeout 5m ./...

# The official MCP conformance suite against the fixtures, server and client.
conformance:
	go run ./conformance/run -client

# `causeway demo`, driven by the clients people use.
e2e: e2e/node_modules/.installed
	cd e2e && go test -count=1 -timeout 8m ./...

# The benchmark works, and the promises of durable objects are kept but for three tenths: less than a
# measurement, for a machine that does other work.
gates:
	cd bench && go test ./...
	cd bench && go run ./state -counter -rounds 3 -gate -slack 0.7

e2e/node_modules/.installed: e2e/package.json e2e/package-lock.json
	cd e2e && npm ci --no-progress --loglevel=error
	touch $@

# The figures of the README, printed by the machine it runs on.
bench: bench-bridge
	go test -run '^$$' -bench Validate ./oauth
	cd bench && go run . -mem
	cd bench && go run ./state -counter -sleepers 1000000

# causeway connect beside mcp-remote, causeway expose beside supergateway.
bench-bridge: e2e/node_modules/.installed
	cd bench && go run ./bridge
	cd bench && go run ./expose

generate:
	go generate ./...

# Fuzz targets 60 seconds each, 500 rounds of every crash test, and the whole bench;
# the output is kept.
long: fuzz crash e2e/node_modules/.installed
	mkdir -p docs/evidence
	cd bench && go run . -mem -gate | tee ../docs/evidence/bench.txt
	cd bench && go run ./state -counter -sleepers 1000000 -gate | tee ../docs/evidence/bench-state.txt
	cd bench && (go run ./bridge -gate && go run ./expose -gate) | tee ../docs/evidence/bench-bridge.txt

fuzz:
	mkdir -p docs/evidence
	.ci/fuzz 60s | tee docs/evidence/fuzz.txt

crash:
	mkdir -p docs/evidence
	CAUSEWAY_CRASH_ROUNDS=500 go test -count=1 -timeout 60m -v -run 'Crash|Kill|PowerFailure' ./store/local ./object | grep -E '^ *--- |^ok|^FAIL|lost|panic' | tee docs/evidence/crash.txt
