# `make gpu` is for a machine with an NVIDIA GPU; everything else is a cargo command (README).

.PHONY: gpu ptx

# All tests and benches on this machine's GPU, into benches/record/.
gpu:
	benches/gpu.sh

# The committed PTX, by the nvcc of NVCC.
ptx:
	kernels/build.sh
