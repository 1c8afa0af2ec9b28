# Everything a person does here. The README's two commands, `cargo demo` and `cargo test`, need no just.

# What there is.
default:
    @just --list

# Starts everything on this machine: `just up --builtin --workers 3`.
up *args:
    cargo run --quiet --package rota -- up {{ args }}

# The demonstration: work on several workers, one of them killed half-way.
demo:
    cargo demo

# All tests, with real servers and real processes.
test *args:
    cargo test {{ args }}

# Format, lints and docs as CI wants them.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Formats the code.
fmt:
    cargo fmt --all

# What CI runs.
ci:
    .ci/run

# Throughput, then latency at 1,000 tasks a second, in a release build.
bench:
    cargo build --release --package rota
    target/release/rota bench --tasks 200000
    target/release/rota bench --tasks 20000 --rate 1000

# Decisions of the scheduler's core in a second, by strategy and number of workers.
bench-core *args:
    cargo bench --package rota-scheduler-core -- {{ args }}

# The live system against the simulator, in a release build: five minutes, on a machine that does nothing else.
bench-against-simulation:
    cargo build --release --package rota
    target/release/rota bench against-simulation

# More and longer sequences of events against the scheduler's core.
properties cases="5000":
    PROPTEST_CASES={{ cases }} cargo test --release --package rota-scheduler-core --test properties

# The simulator against queueing theory, with a million tasks and more for each case: some minutes.
sim-check:
    ROTA_SIM_LONG=1 cargo test --release --package rota-scheduler-sim --test theory -- --nocapture

# Faults on everything, then a judgement, in a release build: `just chaos --faults 2000 --servers 3 --seed 7`.
chaos *args:
    cargo build --release --package rota-submitter --package rota-scheduler --package rota-worker --package rota-monitor --package rota-chaos
    target/release/rota-chaos --binaries target/release {{ args }}

# How soon deaths of workers and leaders are acted upon, in a release build: `just deaths --workers 50 --rounds 200`.
deaths *args:
    cargo build --release --package rota-submitter --package rota-scheduler --package rota-worker --package rota-monitor --package rota-chaos
    target/release/rota-chaos deaths --binaries target/release {{ args }}

# Whole installations in one thread, in virtual time, against a server in memory that misbehaves: `just model 20000`.
model count="2000" *args:
    cargo build --release --package rota-model
    target/release/rota-model {{ count }} {{ args }}

# One of them again, with the logs of all services: `just model-seed 57 2> log`.
model-seed seed *args:
    cargo run --quiet --package rota-model -- 1 --first {{ seed }} --log {{ args }}

# Submits a task to a running installation and waits for its result: `just submit echo hello`.
submit kind input:
    cargo run --quiet --package rota -- submit {{ kind }} {{ input }} --wait

# The service binaries, in release.
build:
    cargo build --release --workspace
