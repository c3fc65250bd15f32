# One command each; `make` alone lists them. What they need and this machine lacks they install first.

SCENARIO    ?=
PREFIX      ?= /usr/local
DESTDIR     ?=
TARGET_DIR  := $(or $(CARGO_TARGET_DIR),target)
BINARY      := $(TARGET_DIR)/release/ruletop

# An ordinary user's PATH often lacks the firewall tools, and a fresh shell's lacks cargo.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help demo run test lint bench differential screenshots install uninstall build setup setup-build setup-demo setup-test setup-screenshots
.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo build ## See it: a private namespace with a real firewall and real traffic (SCENARIO=name)
	@$(BINARY) demo $(SCENARIO)

run: setup-demo build ## Watch this machine's own firewall, with sudo where needed
	@if [ "$$(id -u)" -eq 0 ]; then exec $(BINARY); \
	elif command -v sudo >/dev/null; then exec sudo $(BINARY); \
	else echo "run: reading the firewall needs root and there is no sudo. Run as root, or see 'make demo'." >&2; exit 3; fi

test: setup-test lint ## Lint, then every test; ends with the test runner's summary
	@.ci/test.sh

lint: setup-build ## Formatting, clippy and documentation, warnings being errors
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --check; \
	else echo "lint: WARNING: formatting was not checked: rustup component add rustfmt" >&2; fi
	@if cargo clippy --version >/dev/null 2>&1; then cargo clippy --all-targets -- -D warnings; \
	else echo "lint: WARNING: clippy did not run: rustup component add clippy" >&2; fi
	@RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib

bench: setup-test ## The figures, each beside its peer's in the same run
	@cargo bench --no-run
	@.ci/rooted.sh cargo bench --offline

differential: setup-test ## The verdict engine against the kernel, a million packets (make test runs 20,000)
	@cargo test --no-run --test differential
	@RULETOP_PACKETS=1000000 .ci/rooted.sh cargo test --offline --test differential -- --nocapture

screenshots: setup-screenshots build ## Take the pictures in screenshots/ anew
	@RULETOP=$(BINARY) screenshots/take.sh

install: ## Program, man page and completions under PREFIX (/usr/local), with sudo where needed
	@if command -v cargo >/dev/null || [ ! -x $(BINARY) ]; then $(MAKE) --no-print-directory build; fi
	@.ci/install.sh $(BINARY) "$(DESTDIR)$(PREFIX)"

uninstall: ## Take them away again
	@.ci/install.sh --remove "$(DESTDIR)$(PREFIX)"

build: setup-build
	@cargo build --release

setup: setup-demo setup-test ## Install what demo and test need, and nothing else

setup-build:
	@.ci/setup.sh build

setup-demo:
	@.ci/setup.sh demo

setup-test:
	@.ci/setup.sh test

setup-screenshots:
	@.ci/setup.sh screenshots
