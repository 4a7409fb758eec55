# Everything is done by cargo; these are the two commands a newcomer needs, and a few more.
#
#   make run     builds and starts a complete gateway on ./keygate-data (made on the first run)
#   make test    installs what the tests need (Debian; as root, else it names what is missing) and runs everything
#   make check   formatting-free checks: clippy with warnings as errors, documentation
#   make bench   measures against the limits of this machine
#   make fuzz    200,000 random inputs for each property of the parsers, then FUZZ_SECONDS (60) of libFuzzer for each target
#   make soak    random faults on all kinds of keystores under load, then every key is looked at; SOAK="--minutes 30 --seed N --clients 64"

DATA ?= keygate-data
FUZZ_SECONDS ?= 60
export CARGO_TARGET_DIR ?= $(CURDIR)/target
KEYGATE = $(CARGO_TARGET_DIR)/release/keygate

.PHONY: run test check bench fuzz soak

run:
	cargo build --release --package keygate
	@$(KEYGATE) init --if-needed --data-dir $(DATA)
	@exec $(KEYGATE) serve --data-dir $(DATA) $(RUN)

test:
	sh tests/setup.sh
	@rm -f $(CARGO_TARGET_DIR)/skipped
	@result=0; cargo test --workspace --no-fail-fast || result=$$?; \
	if [ -s $(CARGO_TARGET_DIR)/skipped ]; then echo 'left out:'; sort -u $(CARGO_TARGET_DIR)/skipped; fi; \
	exit $$result

check:
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

bench:
	sh tests/setup.sh bench
	cargo build --release --package keygate --package keygate-bench
	KEYGATE_BIN=$(KEYGATE) $(CARGO_TARGET_DIR)/release/keygate-bench $(BENCH)

fuzz:
	PROPTEST_CASES=200000 cargo test --release --package keygate-kmip --package keygate-pki
	sh fuzz/run.sh $(FUZZ_SECONDS)

soak:
	sh tests/setup.sh
	cargo build --release --package keygate --package keygate-tests --package keygate-shim-pkcs11
	KEYGATE_BIN=$(KEYGATE) $(CARGO_TARGET_DIR)/release/soak $(SOAK)
