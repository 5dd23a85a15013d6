# `make` lists the targets. `make test` is what the README promises and what .ci/run calls.
# The Rust toolchain, a C compiler (bundled SQLite, ring), a shell, PostgreSQL and Python with pip
# (for an MLflow server) are all it needs; `scripts/services` installs the last two where it may.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
ARGS ?=
WASM := wasm32-unknown-unknown

# One target folder for everything, the small packages in tests/ included: what they share is
# built once.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# The tests' Python environments, made by scripts/venv when they are first wanted.
export PMMDS_TEST_VENVS ?= $(CARGO_TARGET_DIR)/venvs

# Cheap first: a formatting mistake is reported in a second, not after the build.
STEPS := fmt-check lock clippy-core clippy-full docs adapters-as-crates wasm features-alone \
	core-only examples test-full schemathesis doc-tests benches package-list package
SLOW_STEPS := story-checked story-killed soak new-cases schemathesis-long package-full msrv deny compose

.PHONY: help test test-all fmt lint doc bench instructions clean run-steps tiny \
	download-data train serve seed-traffic monitor retrain rollback story $(STEPS) $(SLOW_STEPS)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##### The system, by the commands of the original. Options go in ARGS: make monitor ARGS=--summary

FULL_STACK := $(CARGO) run --release --example full_stack --

story: ## The whole loop: train, serve, drift, alert, retrain, promote
	$(FULL_STACK) $(ARGS)

download-data: ## Fetch the Telco data set
	$(FULL_STACK) download-data $(ARGS)

train: ## Train and register a model
	$(FULL_STACK) train $(ARGS)

serve: ## Serve predictions over HTTP
	$(FULL_STACK) serve $(ARGS)

seed-traffic: ## Send requests to the service (ARGS="--drift --count 500")
	$(FULL_STACK) seed-traffic $(ARGS)

monitor: ## Compare recent traffic with the training profile (ARGS=--summary)
	$(FULL_STACK) monitor $(ARGS)

retrain: ## Train a challenger and promote it if it is better (ARGS="--force" or "--decisions")
	$(FULL_STACK) retrain $(ARGS)

rollback: ## Put the version before the present one back into production
	$(FULL_STACK) rollback $(ARGS)

##### Work

# The servers are started for the run, and are gone at its end however it ends.
SERVICES := scripts/services run

test: ## Everything a change has to pass, cheap first
	@$(SERVICES) $(MAKE) run-steps RUN="$(STEPS)"

test-all: ## test, and what is too slow for every change
	@$(SERVICES) $(MAKE) run-steps RUN="$(STEPS) $(SLOW_STEPS)"

fmt: ## Format all code
	$(CARGO) fmt
	@for package in core_only adapters_as_crates; do \
		$(CARGO) fmt --manifest-path tests/$$package/Cargo.toml; done

lint: clippy-core clippy-full ## Clippy on the bare core and on everything

doc: ## Build the documentation and say where it is
	$(CARGO) doc --all-features --no-deps
	@echo "$(CARGO_TARGET_DIR)/doc/pmmds/index.html"

bench: ## Measure (ARGS=name runs one benchmark)
	$(SERVICES) postgres $(CARGO) bench --all-features -- $(ARGS)

# Where the machine is too noisy for times: each function by itself, under valgrind.
instructions: ## Count the instructions per value of the counting kernel
	@for body in plain_sum kernel binary_search; do \
		runner="valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect=*instructions::$$body*"; \
		$(CARGO) bench --all-features --bench kernel_count \
			--config "target.'cfg(unix)'.runner = '$$runner'" -- --instructions 2>&1 \
			| awk -v body="$$body" '/ Collected : / { found = 1; printf "%-14s %6.2f instructions per value\n", body, $$NF / 65536 } \
				END { exit !found }'; \
	done

clean: ## Remove what was built
	$(CARGO) clean
	rm -f tests/*/Cargo.lock

# Runs the targets in RUN one after another and ends with the time of each.
run-steps:
	@times=""; failed() { printf '\nmake test: the step "%s" failed; repeat it with: make %s\n' "$$1" "$$1" >&2; exit 1; }; \
	for step in $(RUN); do \
		printf '\n== %s\n' "$$step"; start=$$SECONDS; \
		$(MAKE) "$$step" || failed "$$step"; \
		times+=$$(printf '%6d s  %s' $$((SECONDS - start)) "$$step")$$'\n'; \
	done; \
	printf '\nall passed\n%s%6d s  in all\n' "$$times" "$$SECONDS"

##### The steps of `make test`. Each says what it would catch.

# Catches: code that rustfmt would write differently.
fmt-check:
	$(CARGO) fmt -- --check
	@for package in core_only adapters_as_crates; do \
		$(CARGO) fmt --manifest-path tests/$$package/Cargo.toml -- --check; done

# Catches: a manifest edited without its Cargo.lock.
lock:
	$(CARGO) tree --locked --all-features --depth 1 > /dev/null

# Catches: a core that needs a feature, or has code that only a feature uses.
clippy-core:
	$(CARGO) clippy --lib --no-default-features -- -D warnings

# Catches: lints in adapters, tests, examples and benches.
clippy-full:
	$(CARGO) clippy --all-features --all-targets -- -D warnings

# Catches: broken links, missing documentation, bad Markdown.
docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --all-features --no-deps

# Catches: an adapter that reaches a private item, or an impl that a third party could not write.
adapters-as-crates: tiny
	$(CARGO) check --manifest-path tests/adapters_as_crates/Cargo.toml

# Catches: a clock, a file or a thread that came in with the core or with one of its dependencies.
wasm:
	@if rustc --print target-libdir --target $(WASM) | xargs test -d; then \
		set -x; $(CARGO) check --target $(WASM) --lib --no-default-features; \
	else \
		echo "SKIPPED: the target $(WASM) is not installed (rustup target add $(WASM))"; \
	fi

# Catches: a feature that works only beside another; code half behind its `cfg`.
# Clippy, because `-D warnings` then reaches this crate alone and the dependencies are built once.
features-alone:
	@features=$$(awk '/^\[/ { on = ($$0 == "[features]") } \
		on && /^[a-z0-9_-]+ *=/ { sub(/ *=.*/, ""); if ($$0 != "default" && $$0 != "full") print }' Cargo.toml); \
	[ -n "$$features" ] || { echo "no features found in Cargo.toml" >&2; exit 1; }; \
	for feature in $$features; do \
		echo "$(CARGO) clippy --lib --no-default-features --features $$feature -- -D warnings"; \
		$(CARGO) clippy --lib --no-default-features --features "$$feature" -- -D warnings; \
	done

# Catches: a core that only works because our own tests switch every feature on.
core-only: tiny
	$(CARGO) test --manifest-path tests/core_only/Cargo.toml

# Catches: behaviour, and the walls of the house (tests/layering.rs). After `examples`, since
# tests/story.rs runs one. Property tests draw the same cases in every run, so that a change is judged
# by what it changed; `new-cases` draws others.
test-full:
	PROPTEST_RNG_SEED=1 $(SERVICES) $(CARGO) test --all-features --tests

# Catches: an answer that the document of the API does not announce, or that it announces otherwise:
# requests made from the document, the same ones every time.
schemathesis:
	PMMDS_TEST_SCHEMATHESIS=40 $(CARGO) test --all-features --test http document -- --nocapture

# Catches: documentation whose examples no longer run.
doc-tests:
	$(CARGO) test --all-features --doc

# Catches: examples that no longer build. The story itself runs in its own test.
examples:
	$(CARGO) build --all-features --examples

# Catches: benches that no longer build or panic; each body runs once, nothing is measured.
benches:
	$(SERVICES) postgres $(CARGO) test --all-features --benches

# Catches: a file that a source includes and the package leaves out; tests that leak into it.
package-list:
	@listed=$$($(CARGO) package --allow-dirty --no-verify --list); \
	if grep -E '^(tests|\.ci)/' <<< "$$listed"; then echo "the package has test files" >&2; exit 1; fi; \
	missing=$$(comm -13 <(sort <<< "$$listed") <(find src adapters examples benches -type f 2> /dev/null | sort)); \
	if [ -n "$$missing" ]; then printf 'not in the package:\n%s\n' "$$missing" >&2; exit 1; fi; \
	for file in README.md CHANGELOG.md LICENSE src/lib.rs; do \
		grep -qxF "$$file" <<< "$$listed" || { echo "not in the package: $$file" >&2; exit 1; }; done; \
	echo "$$(wc -l <<< "$$listed") files"

# Catches: a package that does not build by itself. With default features, whose dependencies
# core-only has built already; package-full does it with all of them.
package:
	$(CARGO) package --allow-dirty

# The small packages resolve to the versions of the root, so that nothing is built twice.
tiny:
	@for package in core_only adapters_as_crates; do cp Cargo.lock tests/$$package/Cargo.lock; done

##### The further steps of `make test-all`.

# Catches: a story that no longer ends as it claims; release build, under a minute to run.
story-checked:
	state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; $(FULL_STACK) --state "$$state"

# Catches: a moment at which kill -9 leaves the story unable to go on; make test tries three.
story-killed:
	PMMDS_TEST_STORY_KILLS=20 $(SERVICES) $(CARGO) test --all-features --test story killed -- --nocapture

# Catches: a file or a few bytes that every request leaves behind; make test asks some thousand times.
soak:
	PMMDS_TEST_SOAK=200000 $(CARGO) test --all-features --test story many_requests -- --nocapture

# Catches: a law that holds for the cases that `test-full` draws and for others not.
new-cases:
	@seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); set -x; \
	PROPTEST_RNG_SEED=$$seed PROPTEST_CASES=2000 $(SERVICES) $(CARGO) test --all-features --lib --test laws

# Catches: what `schemathesis` does not reach with few examples.
schemathesis-long:
	PMMDS_TEST_SCHEMATHESIS=1000 $(CARGO) test --all-features --test http document -- --nocapture

# Catches: an adapter whose files are not all in the package. Builds every dependency anew.
package-full:
	$(CARGO) package --allow-dirty --all-features

# Catches: a core that needs a newer compiler than Cargo.toml says.
msrv:
	@version=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml); \
	toolchain=$$(rustup toolchain list 2> /dev/null | grep -oE "^$${version//./\\.}[0-9.]*-[^ ]+" | head -n 1 || true); \
	if [ -n "$$toolchain" ]; then \
		set -x; $(CARGO) "+$$toolchain" check --lib --no-default-features; \
	else \
		echo "SKIPPED: Rust $$version is not installed (rustup toolchain install $$version)"; \
	fi

# Catches: a licence, a source or a crate that deny.toml does not accept; known vulnerabilities.
deny:
	@if $(CARGO) deny --version > /dev/null 2>&1; then \
		set -x; $(CARGO) deny check bans licenses sources; \
		{ set +x; } 2> /dev/null; said=$$($(CARGO) deny check advisories 2>&1) || { \
			grep -q "failed to fetch advisory database" <<< "$$said" || { echo "$$said" >&2; exit 1; }; \
			said="SKIPPED: the database of known vulnerabilities cannot be fetched"; }; \
		tail -n 1 <<< "$$said"; \
	else \
		echo "SKIPPED: cargo-deny is not installed"; \
	fi

# Catches: a docker-compose.yml that no engine reads, or one that starts without its secrets.
compose:
	@for tool in "docker compose" docker-compose; do \
		$$tool version > /dev/null 2>&1 || continue; \
		echo "$$tool config"; export PMMDS_ADMIN_TOKEN=token POSTGRES_PASSWORD=password; \
		$$tool config --quiet; \
		for secret in PMMDS_ADMIN_TOKEN POSTGRES_PASSWORD; do \
			if env -u "$$secret" $$tool config --quiet 2> /dev/null; then \
				echo "it starts without $$secret" >&2; exit 1; fi; \
		done; \
		exit 0; \
	done; \
	echo "SKIPPED: docker compose is not installed"
