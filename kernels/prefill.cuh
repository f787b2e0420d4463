// What the kernels of a prompt share: the plan of one call, which says what its tokens are.
#pragma once

#include "mma.cuh"

// Up to MAX_PREFILL tokens of any number of sequences, which follow one another:
//
//   token     [MAX_PREFILL]  token ids
//   position  [MAX_PREFILL]  their positions
//   slot      [MAX_PREFILL]  where a token's keys and values go: page * PAGE_LEN + place in it
//   tile      [MAX_PREFILL, 4]  attention's tiles: first token, tokens, position of the first, where the page table starts
//   pages     the page tables, one after another
constexpr uint32_t MAX_PREFILL = 512;
constexpr uint32_t PLAN_TOKENS = 0;
constexpr uint32_t PLAN_POSITIONS = MAX_PREFILL;
constexpr uint32_t PLAN_SLOTS = 2 * MAX_PREFILL;
constexpr uint32_t PLAN_TILES = 3 * MAX_PREFILL;
constexpr uint32_t PLAN_PAGES = 7 * MAX_PREFILL;

// Activations that go into products are [2][MAX_PREFILL][K padded to whole TILE_K] halves: see mma.cuh. The padding is zero
// from the start, and no kernel writes it.
__device__ __forceinline__ uint64_t low_plane(uint32_t n_columns) { return uint64_t(MAX_PREFILL) * n_columns; }
