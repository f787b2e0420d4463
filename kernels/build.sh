#!/usr/bin/env bash
# Compiles every kernel to ptx/NAME.sm_ARCH.ptx, for the architectures at which the code differs.
#
#   NVCC=/usr/local/cuda/bin/nvcc kernels/build.sh [NAME ...]
#
# The files are committed, so that nobody needs the toolkit. They are made by nvcc 13.0.88: on PyPI it is nvidia-cuda-nvcc==13.0.88
# with nvidia-cuda-crt, nvidia-nvvm and nvidia-cuda-runtime of the same line and nvidia-cuda-cccl<13.1. Their `.version` is
# lowered to 8.0, which drivers from 525 on load; with PTXAS=FILE of CUDA 12 each is assembled to show that nothing newer is in
# it. The last line is a checksum of the sources, which a test compares.
set -euo pipefail
cd "$(dirname "$0")"
NVCC=${NVCC:-nvcc}
version=$("$NVCC" --version | sed -n 's/.*release \([0-9.]*\), V\(.*\)/\2/p')
[ "$version" = 13.0.88 ] || { echo "nvcc is $version, expected 13.0.88" >&2; exit 1; }

# Where a kernel has code of its own: 80 for asynchronous copies and wider matrix instructions, 90 for dependent launches.
archs() {
    if grep -q 'ARCH__ >= 800\|cp_async\|mma_' "$1.cu"; then echo 75 80 90; else echo 75 90; fi
}

# The file and the headers of this folder that it includes, also by way of others; sorted.
sources() {
    local files="$1.cu" before=
    while [ "$files" != "$before" ]; do
        before=$files
        files="$1.cu $(cat $files | sed -n 's/^#include "\(.*\)"/\1/p' | sort -u | tr '\n' ' ')"
    done
    echo $files
}

mkdir -p ptx
if [ $# -eq 0 ]; then
    set -- *.cu
fi
for name in "${@%.cu}"; do
    for arch in $(archs "$name"); do
        ptx=ptx/$name.sm_$arch.ptx
        # Names in the debug information come from the source's path: its name alone, so that any clone gives the same bytes.
        "$NVCC" -ptx -arch="compute_$arch" -lineinfo -std=c++17 -O3 -Xcicc "--orig_src_path_name=$name.cu" "$name.cu" -o "$ptx"
        # The pragma is a hint of PTX 8.3.
        sed -i -e 's/^\.version .*/.version 8.0/' -e '/\.pragma "used_bytes_mask/d' -e "s|\"$PWD/|\"|" -e 's|"[^"]*/include/|"cuda/|' -e '/^\/\/ Cuda compilation/d' "$ptx"
        echo "// cksum of $(sources "$name"): $(cat $(sources "$name") | cksum | cut -d' ' -f1)" >> "$ptx"
        if [ -n "${PTXAS:-}" ]; then
            "$PTXAS" -arch="sm_$arch" "$ptx" -o /dev/null
        fi
    done
done
if grep -n '\.file.*"/' ptx/*.ptx; then
    echo "absolute paths remain" >&2
    exit 1
fi
