# `make gpu` is for a machine with an NVIDIA GPU, `make install-capi` for C programs; everything else is a cargo command (README).

.PHONY: gpu install-capi ptx

# All tests and benches on this machine's GPU, into benches/record/.
gpu:
	benches/gpu.sh

# The C library, its header and its pkg-config file, for C programs: capi/README.md.
PREFIX ?= /usr/local
TARGET ?= $(or $(CARGO_TARGET_DIR),target)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' capi/Cargo.toml)
install-capi:
	cargo build --release --locked -p halfwarp-capi
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 $(TARGET)/release/libhalfwarp.so $(DESTDIR)$(PREFIX)/lib
	install -m 644 $(TARGET)/release/libhalfwarp.a $(DESTDIR)$(PREFIX)/lib
	install -m 644 capi/include/halfwarp.h $(DESTDIR)$(PREFIX)/include
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' capi/halfwarp.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/halfwarp.pc

# The committed PTX, by the nvcc of NVCC.
ptx:
	kernels/build.sh
