#!/usr/bin/env bash
# Compiles the kernels of this folder to ptx/NAME.sm_ARCH.ptx, one file for each architecture that a kernel file runs on.
#
#   NVCC=/usr/local/cuda/bin/nvcc ./build.sh [NAME ...]
#
# The files are committed, so that the tests need no toolkit; they were made by nvcc 13.0.88. Their last line is a checksum
# of the sources, which a test compares. OUT and ARCHS choose another folder and other architectures.
set -euo pipefail
cd "$(dirname "$0")"
NVCC=${NVCC:-nvcc}
OUT=${OUT:-ptx}
ARCHS=${ARCHS:-75 80 90 120}

# The least architecture that has the instructions of a file; every other file has a path for each.
least() {
    case $1 in
        gemm_tf32 | zoo_copy | zoo_reduce) echo 80 ;;
        bulk_copy | convert_fp8 | zoo_stmatrix) echo 90 ;;
        *) echo 75 ;;
    esac
}

# No path of the building machine may remain: neither in the `.file` table nor in the text of an assert.
toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v "$NVCC")")")")
mkdir -p "$OUT"
if [ $# -eq 0 ]; then
    set -- *.cu
fi
for name in "${@%.cu}"; do
    for arch in $ARCHS; do
        if [ "$arch" -lt "$(least "$name")" ]; then
            continue
        fi
        ptx=$OUT/$name.sm_$arch.ptx
        "$NVCC" -ptx -arch="compute_$arch" -lineinfo -std=c++17 -O3 "$name.cu" -o "$ptx"
        sed -i -e "s|\"$PWD/|\"|" -e "s|\"$toolkit/|\"cuda/|" -e 's|"cuda/bin/\.\.//|"cuda/|' "$ptx"
        echo "// cksum of $name.cu and common.cuh: $(cat "$name.cu" common.cuh | cksum | cut -d' ' -f1)" >> "$ptx"
    done
done
if grep -n '\.file.*"/' "$OUT"/*.ptx; then
    echo "absolute paths remain" >&2
    exit 1
fi
