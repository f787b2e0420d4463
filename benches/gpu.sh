#!/usr/bin/env bash
# Tests and measures the CUDA backend on this machine's GPU and writes benches/record/NAME.md, NAME being the device and the date.
#
#   make gpu                              everything
#   MODELS="gpt2 gpt2-xl" make gpu        these shapes instead of all four, with random weights
#   LLAMA_BENCH=FILE GGUF=FILE make gpu   llama.cpp beside it, on the same fp16 model
#
# It works on the emulator too, with counters in place of times:
#   cargo run --release -p cuda-emulator -- make gpu MODELS=tales
set -uo pipefail
cd "$(dirname "$0")/.."
MODELS=${MODELS:-tales gpt2 gpt2-medium gpt2-large gpt2-xl}
PROFILE=${PROFILE:-release}
failed=0

cargo build --profile "$PROFILE" --bin halfwarp || exit 1
folder=${CARGO_TARGET_DIR:-target}/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")
halfwarp=$folder/halfwarp
device=$("$halfwarp" info --json | sed -n 's/^ *"cuda": "\(.*\)",\{0,1\}$/\1/p')
[ -n "$device" ] || { echo "there is no CUDA device: $("$halfwarp" info | grep CUDA)" >&2; exit 1; }
name=$(echo "${device%%,*}" | tr -cs '[:alnum:]' '-' | tr '[:upper:]' '[:lower:]')$(date +%Y-%m-%d)
folder=benches/record
if env | grep -q '^CUDA_EMULATOR_'; then
    # No record of a GPU.
    device="emulated: $device" folder=target/record
fi
mkdir -p "$folder"
record=$folder/$name.md

# Prints a section: its title, the command, and what it wrote; a failure is noted and the next section follows.
section() {
    local title=$1 code
    shift
    printf '\n## %s\n\n    %s\n\n```\n' "$title" "$*"
    "$@" 2>&1
    code=$?
    printf '```\n'
    [ $code -eq 0 ] || { failed=1; printf '\nFAILED with exit code %s\n' $code; }
}

have() { command -v "$1" > /dev/null 2>&1; }

{
    printf '# %s\n\n%s, commit %s\n' "$device" "$(date -u +%FT%TZ)" "$(git rev-parse --short HEAD)"
    if have nvidia-smi; then section "Machine" nvidia-smi; fi
    section "Tests" env HALFWARP_TEST_DEVICE=real cargo test --profile "$PROFILE" --test cuda
    if have compute-sanitizer; then
        test=$(cargo test --profile "$PROFILE" --test cuda --no-run --message-format=json 2> /dev/null |
            sed -n 's/.*"executable":"\([^"]*\/cuda-[^"]*\)".*/\1/p' | tail -1)
        for tool in memcheck racecheck initcheck synccheck; do
            section "compute-sanitizer, $tool" env HALFWARP_TEST_DEVICE=real \
                compute-sanitizer --tool $tool --error-exitcode 9 "$test" --test-threads 1 twins
        done
    else
        printf '\ncompute-sanitizer is not installed: not run.\n'
    fi
    for model in $MODELS; do
        if [ "$model" = tales ]; then which=(); else which=(--random "$model"); fi
        section "$model" "$halfwarp" bench --device cuda "${which[@]}" -p 128 -n 128 -r "${REPETITIONS:-5}"
    done
    section "Kernels and decode, by criterion" cargo bench --profile "$PROFILE" --bench cuda -- --quick
    if [ -n "${LLAMA_BENCH:-}" ]; then
        section "llama.cpp" "$LLAMA_BENCH" -m "${GGUF:?a GGUF file of the same model}" -p 128 -n 128 -ngl 99
    else
        printf '\nLLAMA_BENCH is not set: llama.cpp was not measured.\n'
    fi
    if have python3 && python3 -c 'import torch, transformers; assert torch.cuda.is_available()' 2> /dev/null; then
        section "PyTorch" python3 benches/torch_decode.py
    else
        printf '\nPyTorch with CUDA and transformers are not installed: not measured.\n'
    fi
} | tee "$record"
echo "wrote $record"
grep -q '^FAILED' "$record" && exit 1 || exit 0
