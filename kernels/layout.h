// The sizes and numbers that the kernels and Rust share: how data is laid out, how blocks are cut, what codes mean. build/constants.rs
// reads this file, and refuses lines other than comments, `#pragma once`, `#include <cstdint>` and `constexpr uint32_t NAME = VALUE;`,
// where VALUE has literals, names from above it, parentheses and + - * / % << >>.
#pragma once

#include <cstdint>

constexpr uint32_t WARP = 32;

// ---- Packed weights -----------------------------------------------------------------------------------------------
//
// A matrix W [rows, K] (row r gives output r) is kept as tiles of TILE_ROWS rows by TILE_K columns, one after another along
// K, then along the rows: 512 bytes a tile, which a warp loads with 16 bytes a lane. Lane i holds columns
// 8 * (i % 8) .. + 8 of the tile's row i / 8. Rows and columns that do not exist are zero.
constexpr uint32_t TILE_ROWS = 4;
constexpr uint32_t TILE_K = 64;
constexpr uint32_t OCTET = 8;                     // columns in 16 bytes
constexpr uint32_t TILE_OCTETS = TILE_K / OCTET;  // 8: also the lanes that share a row
constexpr uint32_t PACK_THREADS = 128;

// ---- The KV cache -------------------------------------------------------------------------------------------------
//
// A layer's keys and values are [pages, H, PAGE_LEN, padded D] f32 each; D is padded with zeros to a multiple of 8.
constexpr uint32_t PAGE_LEN = 32;
constexpr uint32_t MAX_HEAD_DIM = 128;

// ---- A decode step ------------------------------------------------------------------------------------------------
//
// A decode kernel runs up to MAX_COLUMNS tokens, its columns, which may belong to different sequences. What they are stands
// in device memory, so that one captured graph serves every step:
//
//   token     [MAX_COLUMNS]  token ids
//   position  [MAX_COLUMNS]  their positions; NO_COLUMN where there is none
//   row       [MAX_COLUMNS]  the row of logits that a column leaves; NO_COLUMN if none
//   pages     [MAX_COLUMNS, n_pages]  the page tables
constexpr uint32_t MAX_COLUMNS = 8;
constexpr uint32_t NO_COLUMN = 0xffffffffu;
constexpr uint32_t STEP_TOKENS = 0;
constexpr uint32_t STEP_POSITIONS = MAX_COLUMNS;
constexpr uint32_t STEP_ROWS = 2 * MAX_COLUMNS;
constexpr uint32_t STEP_PAGES = 3 * MAX_COLUMNS;

// A vector x [K] that goes into a product is kept as two planes of floats, [2][octets + PLANE_GAP][4]: the first and the second
// half of each octet. Eight lanes that read neighbouring octets then touch neighbouring 16 bytes, in each of two loads; and
// since octets are whole tiles, the gap puts the planes into different halves of the banks, for 32 lanes that write in order.
constexpr uint32_t PLANE_GAP = 4;

// A row's tiles are cut into slices of at most SLICE_TILES, each summed by one warp.
constexpr uint32_t SLICE_TILES = 16;
// Warps of a product's block at most: SLICE_TILES * TILE_K * LINEAR_MAX_WARPS = 8192 is the largest K.
constexpr uint32_t LINEAR_MAX_WARPS = 8;

// Keys whose part of a decode's attention one block computes: a fixed number, so that the order of sums is fixed.
constexpr uint32_t CHUNK_PAGES = 4;
constexpr uint32_t CHUNK_LEN = CHUNK_PAGES * PAGE_LEN;

// ---- A pass over prompts --------------------------------------------------------------------------------------------
//
// The plan of a pass: up to MAX_PREFILL tokens of any number of sequences, which follow one another.
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

constexpr uint32_t EMBED_THREADS = 128;
constexpr uint32_t LAYERNORM_ROWS = 4;

// Tiles of packed weights that tensor cores sum before their sums are added up outside.
constexpr uint32_t SUM_TILES = 4;

// The wide products: tokens of a block; steps along K that are in shared memory at a time, and a step's bytes of tokens.
constexpr uint32_t BLOCK_TOKENS = 64;
constexpr uint32_t STAGES_SM75 = 2;
constexpr uint32_t STAGES_SM80 = 3;
constexpr uint32_t STAGE_TOKENS = 4 * TILE_K * BLOCK_TOKENS;

// The narrow ones: outputs of a block, its warps at most, and a warp's bytes of weights.
constexpr uint32_t NARROW_ROWS = 16;
constexpr uint32_t NARROW_WARPS = 12;
constexpr uint32_t NARROW_TILE_BYTES = 2 * TILE_K * NARROW_ROWS;

// Attention: tokens and threads of a block; shared memory's rows, and bytes for each 16 columns, in two halves.
constexpr uint32_t TILE_WARPS = 4;
constexpr uint32_t TILE_QUERIES = 16 * TILE_WARPS;
constexpr uint32_t TILE_THREADS = WARP * TILE_WARPS;
constexpr uint32_t ATTENTION_ROWS = 2 * PAGE_LEN + TILE_QUERIES;
constexpr uint32_t ATTENTION_STEP_BYTES = 64 * ATTENTION_ROWS;

// ---- Sampling -------------------------------------------------------------------------------------------------------
constexpr uint32_t SAMPLE_THREADS = 512;
constexpr uint32_t SAMPLE_BINS = 1024;
// Ids have at most this many bits.
constexpr uint32_t SAMPLE_ID_BITS = 20;

// What a column does: nothing; the likeliest token; a draw whose filters start by top-k, by top-p, or which has none of both.
constexpr uint32_t DRAW_NONE = 0;
constexpr uint32_t DRAW_GREEDY = 1;
constexpr uint32_t DRAW_TOP_K = 2;
constexpr uint32_t DRAW_TOP_P = 3;
constexpr uint32_t DRAW_ALL = 4;

// Results that are no token.
constexpr uint32_t DRAWN_NON_FINITE = 0xffffffffu;
constexpr uint32_t DRAWN_ALL_BANNED = 0xfffffffeu;

// A table has two words a token: the bias, f32, and these marks. Below them is how often the token was generated.
constexpr uint32_t MARK_SEEN = 0x80000000u;
constexpr uint32_t MARK_SUPPRESSED = 0x40000000u;

// ---- config.json's activations --------------------------------------------------------------------------------------
constexpr uint32_t ACTIVATION_GELU_TANH = 0;
constexpr uint32_t ACTIVATION_GELU_ERF = 1;
constexpr uint32_t ACTIVATION_RELU = 2;
