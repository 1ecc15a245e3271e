# Everything uses one profile and the same flags, or RocksDB would be compiled twice.
CARGO  := cargo
FLAGS  := --release --workspace --locked
TARGET  = $(shell $(CARGO) metadata --format-version 1 --no-deps 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
TIDINGS = $(TARGET)/release/tidings
SETUP  := . .ci/libclang
DATA   ?= ../shared/data/irc-2017-2020.jsonl.gz
# Where the peers of `make bench` are built: nothing of theirs is built with tidings.
PEERS  ?= $(TARGET)/peers

.PHONY: build chat test examples install demo measure bench bench-short lint soak fuzz

build:
	@[ -x "$(TIDINGS)" ] || echo "First build: about 20 minutes on 2 cores, once. Kept in $(TARGET). cargo counts as it goes."
	@$(SETUP) && $(CARGO) build $(FLAGS)

chat: build
	@exec $(TIDINGS) chat

# The tests drive the binary, so it is built first.
test: build
	@$(SETUP) && if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run $(FLAGS) --no-fail-fast; else $(CARGO) test $(FLAGS) --lib --bins --tests; fi
	@$(SETUP) && $(CARGO) test $(FLAGS) --doc --quiet

# Every example runs as written.
examples: build
	@$(SETUP) && $(CARGO) build $(FLAGS) --examples && .ci/examples $(TARGET)/release

install: build
	@mkdir -p $(HOME)/.local/bin && cp $(TIDINGS) $(HOME)/.local/bin/tidings
	@echo "installed $(HOME)/.local/bin/tidings: run it with: tidings chat"

# The random tests for longer; a failure names its seed.
soak: build
	@$(SETUP) && TIDINGS_SEEDS=20000 $(CARGO) nextest run --profile soak $(FLAGS) random_schedules
	@$(SETUP) && TIDINGS_SEEDS=100000 $(CARGO) nextest run --profile soak $(FLAGS) random_rooms_keep_the_rules
	@.ci/worlds 50000
	@.ci/faults 2000
	@$(SETUP) && TIDINGS_TRIM_BUDGET=100000000 TIDINGS_TRIM_RECORDS=300000 \
		$(CARGO) nextest run --profile soak $(FLAGS) a_node_stays_within_its_budget
	@$(SETUP) && TIDINGS_TRIM_BUDGET=200000000 TIDINGS_TRIM_RECORDS=1000000 \
		$(CARGO) nextest run --profile soak $(FLAGS) a_node_stays_within_its_budget
	@.ci/authority-mutants

# Coverage-guided fuzzing of the protocol, so many seconds for each target: make fuzz SECONDS=3600. Findings stay outside.
fuzz:
	@.ci/fuzz $(or $(SECONDS),60)

demo: build
	@.ci/demo $(TIDINGS) $(DATA)

# Every figure that is promised, on this machine: about five minutes.
measure: build
	@$(SETUP) && $(CARGO) build $(FLAGS) --examples && $(TARGET)/release/examples/measure --data $(DATA)

# tidings beside its peers, each built and run here, as a table of ratios: half an hour on a quiet machine. The first build of
# the peers takes ten minutes. PARTS="P1 P5" runs some of it, ROUNDS=1 is a first look.
bench: build
	@for peer in nats-server prosody; do command -v $$peer >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && echo "installing $$peer with apt-get" && (apt-get update -qq; apt-get install -y -qq $$peer) >/dev/null 2>&1; } || \
		echo "no $$peer here, so it is skipped; get it with: apt-get install $$peer"; done
	@CARGO_TARGET_DIR=$(PEERS) $(CARGO) build --release --locked --manifest-path benches/peers/Cargo.toml
	@$(PEERS)/release/tidings-bench --tidings $(TIDINGS) --data $(DATA) --json $(TARGET)/bench.json \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(PARTS)

# Only shows that the program above runs: few messages, once, with the peers that are here and cheap to build.
bench-short: build
	@CARGO_TARGET_DIR=$(PEERS) $(CARGO) build --release --locked --no-default-features --manifest-path benches/peers/Cargo.toml
	@$(PEERS)/release/tidings-bench --short --tidings $(TIDINGS) --data $(DATA) --json $(TARGET)/bench-short.json

lint:
	@$(CARGO) fmt --all --check
	@$(SETUP) && $(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	@$(SETUP) && RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(FLAGS) --no-deps --quiet
