# Every target does its own set-up: on a fresh machine, `make report` or `make test` can be the first command.

.PHONY: report test bench setup drivers drivers-quick peers kmeans-peers gpu-suite suite check check-shared check-gguf-py python-tools wheel test-python dist

# All programs. Another choice of packages would have other features of what they share, and compile that again.
BUILD := cargo build --release --locked --workspace --bins

# The main job: measure this adapter's roofs, verify and time every kernel, write report.json and report.html.
report: setup
	cargo run --release --locked -- report

# Tests share a cache of their own: the tuning table is not the user's, and a driver compiles each kernel once for all of them.
test test-python drivers-quick: export XDG_CACHE_HOME := $(CURDIR)/target/test-cache

# Every test. Those in tests/gpu need a device and fail without one.
test: setup
	if command -v cargo-nextest >/dev/null; then cargo nextest run --locked --workspace && cargo test --locked --workspace --doc; \
	else cargo test --locked --workspace; fi
	cargo build --locked --workspace --examples
	target/debug/examples/own_device
	cargo check --locked --no-default-features

# Every kernel through the compilers of nine GPUs that are not there, and verified on three drivers that are. Drivers come from Debian's
# packages and lie in target/drivers; nothing of the system is changed.
drivers: setup
	tests/drivers/fetch target/drivers
	$(BUILD)
	target/release/lowbit-drivers all

# What of it CI has time for.
drivers-quick: setup
	cargo build --locked --workspace --tests --bins
	if tests/drivers/fetch target/drivers; then target/debug/lowbit-drivers quick; \
	else echo "drivers: NOT RUN: their packages could not be had" >&2; fi
	SUITE=target/debug benches/gpu-suite target/gpu-suite --dry

# llama.cpp's Vulkan backend and lowbit by turns on this machine's device; needs npm, Python and their package indexes.
peers: setup
	$(BUILD)
	mkdir -p target/peers
	[ -e target/peers/package ] || (cd target/peers && npm pack --silent @node-llama-cpp/linux-x64-vulkan@3.22.1 && tar xzf *.tgz)
	[ -e target/peers/venv ] || (python3 -m venv target/peers/venv && target/peers/venv/bin/pip install --quiet numpy)
	target/peers/venv/bin/python tests/drivers/peers.py target/peers/package/bins/linux-x64-vulkan target/release/lowbit

# k-means of scikit-learn, FAISS and lowbit by turns on these cores; POINTS="FILE.npy K" adds data of your own.
kmeans-peers: setup
	$(BUILD)
	[ -x target/peers/kmeans/bin/python ] || (python3 -m venv target/peers/kmeans && \
		target/peers/kmeans/bin/pip install --quiet numpy scikit-learn==1.9.1 faiss-cpu==1.15.1)
	target/peers/kmeans/bin/python tests/drivers/kmeans_peers.py target/release/lowbit $(POINTS)

# All that a GPU should tell, within ten minutes, into OUT; `make suite` builds what it runs, to be carried to a machine that cannot.
gpu-suite: suite
	benches/gpu-suite $(or $(OUT),target/gpu-suite) $(if $(DRY),--dry)
suite: setup
	$(BUILD)
	mkdir -p target/suite
	strip -o target/suite/lowbit target/release/lowbit
	strip -o target/suite/lowbit-drivers target/release/lowbit-drivers

# Every kernel at its bench size, as JSON on standard output.
bench: setup
	cargo bench --locked --bench kernels

# A software Vulkan driver if, and only if, there is no Vulkan device.
setup:
	./.ci/setup-vulkan

# What CI checks before the tests.
check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Real inputs with independent answers that are not part of the repository.
check-shared: setup
	LOWBIT_SHARED=$(or $(LOWBIT_SHARED),$(abspath ../shared)) cargo test --locked --release --test cpu --test gpu -- --ignored shared

# What is written, read by the `gguf` Python package; needs Python and a package index.
check-gguf-py:
	python3 -m venv target/gguf-py
	target/gguf-py/bin/pip install --quiet gguf numpy
	LOWBIT_PYTHON=$(CURDIR)/target/gguf-py/bin/python LOWBIT_SHARED=$(or $(LOWBIT_SHARED),$(abspath ../shared)) \
		cargo test --locked --release --test gpu -- --ignored gguf_py

# The Python package, with the command line and the licences of all crates in it, as a wheel in target/wheels; needs Python 3.10 or
# later and a package index. Both packages are named so that what they share has the features of both: maturin then compiles no more
# than the module.
wheel: python-tools
	cargo build --release --locked -p lowbit -p lowbit-python --bin lowbit
	mkdir -p python/lowbit.data/scripts
	strip -o python/lowbit.data/scripts/lowbit target/release/lowbit
	python3 python/notices.py python/Cargo.toml python/THIRD-PARTY-NOTICES
	rm -rf target/wheels
	target/python/build/bin/maturin build --release --locked --manifest-path python/Cargo.toml --out target/wheels

# What makes the wheel.
python-tools:
	[ -x target/python/build/bin/maturin ] || \
		(python3 -m venv target/python/build && target/python/build/bin/pip install --quiet maturin==1.16.0)

# The wheel in a fresh virtual environment: alone with numpy at first, then its tests, which need a device.
test-python: setup wheel
	python3 -m venv --clear target/python/test
	target/python/test/bin/pip install --quiet target/wheels/*.whl
	target/python/test/bin/python -c "import lowbit"
	target/python/test/bin/lowbit --version
	target/python/test/bin/pip install --quiet -r python/tests/requirements.txt
	cd python && ../target/python/test/bin/pytest -q
	cd python && ../target/python/test/bin/mypy
	target/python/test/bin/python -m mypy.stubtest --mypy-config-file python/pyproject.toml lowbit._lowbit

# What there is to hand out, in target/dist: the program with its completions and manual pages as an archive, and the wheel.
dist: wheel
	rm -rf target/dist target/lowbit
	mkdir -p target/dist target/lowbit
	strip -o target/lowbit/lowbit target/release/lowbit
	cp README.md LICENSE-MIT LICENSE-APACHE target/lowbit
	target/release/lowbit --quiet shell target/lowbit
	tar -C target -czf target/dist/lowbit-$$(uname -s)-$$(uname -m).tar.gz lowbit
	cp target/wheels/*.whl target/dist
