// sample: the token that follows, from a row of logits, as src/sampler/ chooses it: the same token, always
//
// Two kernels: sample_greedy_f32 where every column takes the likeliest token, sample_draw_f32 for anything. They also move
// the step on: the token takes the place of the last one, at the next position, so that the next step of a generation needs
// nothing from the host.
//
// Why parallel sums change nothing: maxima and sums are those of integers. A score, f64, is compared as a 64-bit integer, its
// rank; a weight e^((score - max) / temperature) is rounded to units of 2^-44, its mass. f64 operations are written so that
// nothing fuses, in the order of src/sampler/numbers.rs.
//
// How a token is found without sorting: "the first entry, in some order, at which the running sum of masses exceeds a target"
// is what top-k (by rank, each mass 1), top-p (by rank, then id) and the draw itself (by id) look for. A histogram of 1024
// bins gives the bin, and the entries of that bin and those before are listed; one block then finds the entry itself, ten bits
// of the key at a time.
//
//   every block   the best score of its tokens                    | all blocks meet
//   every block   masses of its tokens, by bin; added to all bins | all blocks meet
//   every block   lists its tokens up to the bin that was found
//   last block    finds the token, and clears what the next run starts from
#include "common.cuh"
#include "sample_numbers.cuh"
#include "sample_search.cuh"

// How to draw: `Record` of src/backend/cuda/kernels/sample.rs, one for each column.
struct Draw {
    double temperature, top_p, min_p, repetition, presence, frequency;
    double floor;  // a score this far below the largest has no mass
    double bins;   // bins for each unit of score
    uint64_t seed;
    uint32_t choice, mode, n_choices, top_k;
    uint32_t table;  // which of the tables; NO_COLUMN if none
    uint32_t suppressed_until;
};

// A column's memory of a run: what blocks tell each other. All zero between runs, but for `best`.
struct Meeting {
    uint32_t arrived[2], done, n_listed;
    uint64_t bins[SAMPLE_BINS];
};

struct Listed {
    uint64_t rank, mass;
    uint32_t id, is_likely;  // at least min_p
};

struct Column {
    Scores scores;
    uint32_t first, end;  // this block's tokens

    // Of the block's tokens.
    __device__ __forceinline__ Best best() const {
        Best best = {~0ull, ~0u, 0};
        bool is_bad = false;
        for (uint32_t id = first + threadIdx.x; id < end; id += SAMPLE_THREADS) {
            const uint64_t rank = rank_of(scores(id, is_bad));
            if (rank < best.rank) best = {rank, id, 0};
        }
        best.is_bad = is_bad;
        return best;
    }
};

__device__ __forceinline__ Best all_best(Shared& s, const Best* of_blocks) {
    Best best = {~0ull, ~0u, 0};
    for (uint32_t i = threadIdx.x; i < gridDim.x; i += SAMPLE_THREADS) best = better(best, of_blocks[i]);
    return block_best(s, best);
}

// The result if no token can be chosen, else 0.
__device__ __forceinline__ uint32_t failure(const Best& best) {
    if (best.is_bad) return DRAWN_NON_FINITE;
    return best.rank >= RANK_BANNED ? DRAWN_ALL_BANNED : 0;
}

// What a kernel is given. Pointers to arrays with an entry, or a part, for each column.
struct Args {
    const float* logits;  // [rows, V]
    uint32_t* step;
    const Draw* draws;
    uint2* tables;  // [tables, V]
    Meeting* meetings;
    Best* bests;      // [columns, gridDim.x]
    Listed* listed;   // [columns, V]
    uint32_t* drawn;  // [rows], in the host's memory
    uint32_t n_vocab;
};

__device__ __forceinline__ Column column_of(const Args& a, const Draw& draw, uint32_t row, uint32_t position) {
    const uint32_t length = ((draw.n_choices + gridDim.x - 1) / gridDim.x + WARP - 1) / WARP * WARP;
    const uint32_t first = min(blockIdx.x * length, draw.n_choices);
    const uint2* table = draw.table == NO_COLUMN ? nullptr : a.tables + uint64_t(draw.table) * a.n_vocab;
    const Scores scores = {a.logits + uint64_t(row) * a.n_vocab, table, draw.repetition, draw.presence, draw.frequency,
                           position + 1 < draw.suppressed_until};
    return {scores, first, min(first + length, draw.n_choices)};
}

// Hands the token to the host and to the next step. Called by one thread.
__device__ __forceinline__ void finish(const Args& a, const Draw& draw, uint32_t row, uint32_t position, uint32_t token) {
    const uint32_t column = blockIdx.y;
    a.drawn[row] = token;
    Meeting& m = a.meetings[column];
    m.arrived[0] = m.arrived[1] = m.done = m.n_listed = 0;
    if (token >= DRAWN_ALL_BANNED) return;
    a.step[STEP_TOKENS + column] = token;
    a.step[STEP_POSITIONS + column] = position + 1;
    if (draw.table == NO_COLUMN) return;
    uint32_t& marks = a.tables[uint64_t(draw.table) * a.n_vocab + token].y;
    marks = (marks | MARK_SEEN) + 1;
}

// ---- The draw ---------------------------------------------------------------------------------------------------------

// A token's place and mass, once the largest score is known.
struct Masses {
    const Draw& draw;
    double max;
    uint32_t id_shift;

    __device__ __forceinline__ bool counts(double score) const { return __dsub_rn(score, max) >= draw.floor; }

    __device__ __forceinline__ uint32_t bin(double score, uint32_t id) const {
        if (draw.mode == DRAW_ALL) return id >> id_shift;
        return min(uint32_t(__dmul_rn(__dsub_rn(max, score), draw.bins)), SAMPLE_BINS - 1);
    }

    __device__ __forceinline__ double weight(double score) const {
        const double below = __dsub_rn(score, max);
        return exp_f64(draw.temperature == 1.0 ? below : __ddiv_rn(below, draw.temperature));
    }
};

// Adds the block's tokens to the column's bins: their number for top-k, else their masses.
__device__ __forceinline__ void fill_bins(Shared& s, const Column& c, const Masses& masses, uint64_t* bins) {
    clear_bins(s);
    bool is_bad = false;
    // The bounds are multiples of a warp, but for the end: a warp stays together.
    for (uint32_t id = c.first + threadIdx.x; id - threadIdx.x % WARP < c.end; id += SAMPLE_THREADS) {
        uint64_t mass = 0;
        uint32_t bin = 0;
        const double score = id < c.end ? c.scores(id, is_bad) : from_bits(0xfff0000000000000);
        if (masses.counts(score)) {
            bin = masses.bin(score, id);
            const double weight = masses.draw.mode == DRAW_TOP_K ? 1.0 : masses.weight(score);
            mass = masses.draw.mode == DRAW_TOP_K ? 1 : mass_of(weight);
            if (masses.draw.mode == DRAW_ALL && !(weight >= masses.draw.min_p)) mass = 0;
        }
        if (masses.draw.mode == DRAW_ALL) {
            // A bin has at least a warp's tokens: one sum, where 32 additions would queue.
#pragma unroll
            for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) mass += __shfl_xor_sync(ALL_LANES, mass, offset);
            bin = id >> masses.id_shift;
            if (threadIdx.x % WARP > 0) mass = 0;
        }
        if (mass > 0) add_to_bin(s, bin, mass);
    }
    __syncthreads();  // all masses are in their bins
    for (uint32_t i = threadIdx.x; i < SAMPLE_BINS; i += SAMPLE_THREADS) {
        if (s.bins[i] > 0) atomicAdd(reinterpret_cast<unsigned long long*>(bins + i), s.bins[i]);
    }
    __syncthreads();  // the whole block has added
}

// Lists the block's tokens of bin `last` and, unless `only` that one, of those before.
__device__ __forceinline__ void list(const Column& c, const Masses& masses, uint32_t last, bool only, Meeting& m,
                                     Listed* listed) {
    bool is_bad = false;
    for (uint32_t id = c.first + threadIdx.x; id < c.end; id += SAMPLE_THREADS) {
        const double score = c.scores(id, is_bad);
        if (!masses.counts(score)) continue;
        const uint32_t bin = masses.bin(score, id);
        if (only ? bin != last : bin > last) continue;
        const double weight = masses.weight(score);
        listed[atomicAdd(&m.n_listed, 1)] = {rank_of(score), mass_of(weight), id, weight >= masses.draw.min_p};
    }
    __syncthreads();  // the whole block has listed
}

// The mass that a running sum has to reach for top-p.
__device__ __forceinline__ uint64_t needed(double top_p, uint64_t all) {
    return __double2ull_rz(ceil(__dmul_rn(top_p, __ull2double_rn(all))));
}

// The entries that the filters leave, of those listed.
struct Kept {
    const Listed* listed;
    uint64_t rank;
    uint32_t id;

    __device__ __forceinline__ uint64_t mass(uint32_t i) const {
        const Listed& e = listed[i];
        return e.rank < rank || (e.rank == rank && e.id <= id) ? e.mass : 0;
    }

    __device__ __forceinline__ uint64_t likely_mass(uint32_t i) const { return listed[i].is_likely ? mass(i) : 0; }
};

template <typename Mass>
__device__ __forceinline__ uint64_t sum_of(Shared& s, uint32_t n, Mass mass) {
    uint64_t sum = 0, before;
    for (uint32_t i = threadIdx.x; i < n; i += SAMPLE_THREADS) sum += mass(i);
    return block_sum(s, sum, before);
}

// The token, by one block. `all` is the sum of the bins; `target` is for DRAW_ALL.
__device__ __forceinline__ uint32_t choose(Shared& s, const Draw& draw, const Listed* listed, uint32_t n, uint64_t all,
                                           uint64_t target, uint64_t bits) {
    Kept kept = {listed, ~0ull, ~0u};
    const auto rank = [&](uint32_t i) { return listed[i].rank; };
    const auto id = [&](uint32_t i) { return uint64_t(listed[i].id); };
    if (draw.mode == DRAW_TOP_K && all > draw.top_k) {
        uint64_t rest = draw.top_k - 1;
        kept.rank = select(s, 0, n, 64, rest, rank, [](uint32_t) { return 1ull; });
    }
    if (draw.top_p < 1.0) {
        if (draw.mode == DRAW_TOP_K) all = sum_of(s, n, [&](uint32_t i) { return kept.mass(i); });
        uint64_t rest = needed(draw.top_p, all) - 1;
        const Kept before = kept;
        kept.rank = select(s, 1, n, 64, rest, rank, [&](uint32_t i) { return before.mass(i); });
        const uint64_t last = kept.rank;
        const auto mass = [&](uint32_t i) { return listed[i].rank == last ? listed[i].mass : 0; };
        kept.id = uint32_t(select(s, 0, n, SAMPLE_ID_BITS, rest, id, mass));
    }
    const auto mass = [&](uint32_t i) { return kept.likely_mass(i); };
    if (draw.mode != DRAW_ALL) target = __umul64hi(bits, sum_of(s, n, mass));
    return uint32_t(select(s, 1, n, SAMPLE_ID_BITS, target, id, mass));
}

// sample_draw_f32: any column
//
// Work    a column's blocks share its tokens; the last one to be done ends the work alone
// Launch  grid [B, columns], block SAMPLE_THREADS, cooperative: all blocks run at the same time. It does not overlap
// Bytes   reads 3 * 4*V of logits (and 3 * 8*V of a table), writes and reads 24 a listed token
// Exact   yes
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS, 1)
sample_draw_f32(const float* logits, uint32_t* step, const Draw* draws, uint2* tables, Meeting* meetings, Best* bests, Listed* listed,
                uint32_t* drawn, uint32_t n_vocab) {
    const Args a = {logits, step, draws, tables, meetings, bests, listed, drawn, n_vocab};
    __shared__ Shared s;
    const Draw& draw = a.draws[blockIdx.y];
    const uint32_t row = a.step[STEP_ROWS + blockIdx.y], position = step_position(a.step, blockIdx.y);
    if (draw.mode == DRAW_NONE) return;  // all blocks of the column
    const Column c = column_of(a, draw, row, position);
    Meeting& m = a.meetings[blockIdx.y];
    Best* of_blocks = a.bests + blockIdx.y * gridDim.x;
    Listed* of_column = a.listed + uint64_t(blockIdx.y) * a.n_vocab;

    const Best mine = block_best(s, c.best());
    if (threadIdx.x == 0) of_blocks[blockIdx.x] = mine;
    meet(&m.arrived[0]);
    const Best best = all_best(s, of_blocks);
    const bool is_drawn = draw.mode != DRAW_GREEDY && failure(best) == 0;
    uint64_t all = 0, target = 0, bits = 0;
    if (is_drawn) {
        uint32_t id_shift = 5;
        while (((draw.n_choices - 1) >> id_shift) >= SAMPLE_BINS) id_shift++;
        const Masses masses = {draw, score_of(best.rank), id_shift};
        fill_bins(s, c, masses, m.bins);
        meet(&m.arrived[1]);

        for (uint32_t i = threadIdx.x; i < SAMPLE_BINS; i += SAMPLE_THREADS) s.bins[i] = m.bins[i];
        __syncthreads();  // the column's bins are there
        const Sum sum = sum_bins(s);
        all = sum.all;
        bits = token_bits(draw.seed, draw.choice, position + 1);
        if (draw.mode == DRAW_TOP_K) target = min(uint64_t(draw.top_k), all) - 1;
        if (draw.mode == DRAW_TOP_P) target = needed(draw.top_p, all) - 1;
        if (draw.mode == DRAW_ALL) target = __umul64hi(bits, all);
        const uint32_t last = find_bin(s, sum, target);
        list(c, masses, last, draw.mode == DRAW_ALL, m, of_column);
    }
    if (!is_last(s, &m.done)) return;
    uint32_t token = failure(best);
    if (token == 0) token = is_drawn ? choose(s, draw, of_column, m.n_listed, all, target, bits) : best.id;
    if (is_drawn) {
        for (uint32_t i = threadIdx.x; i < SAMPLE_BINS; i += SAMPLE_THREADS) m.bins[i] = 0;
    }
    if (threadIdx.x == 0) finish(a, draw, row, position, token);
}

// sample_greedy_f32: columns whose mode is DRAW_GREEDY or DRAW_NONE
//
// Work    a column's blocks share its tokens; the last one to be done finds the best of theirs
// Launch  grid [B, columns], block SAMPLE_THREADS
// Bytes   reads 4*V of logits (and 8*V of a table)
// Exact   yes
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS, 1)
sample_greedy_f32(const float* logits, uint32_t* step, const Draw* draws, uint2* tables, Meeting* meetings, Best* bests, uint32_t* drawn,
                  uint32_t n_vocab) {
    const Args a = {logits, step, draws, tables, meetings, bests, nullptr, drawn, n_vocab};
    __shared__ Shared s;
    let_next_start();
    wait_for_previous();
    const Draw& draw = a.draws[blockIdx.y];
    const uint32_t row = a.step[STEP_ROWS + blockIdx.y], position = step_position(a.step, blockIdx.y);
    if (draw.mode == DRAW_NONE) return;  // all blocks of the column
    const Column c = column_of(a, draw, row, position);
    Best* of_blocks = a.bests + blockIdx.y * gridDim.x;
    const Best mine = block_best(s, c.best());
    if (threadIdx.x == 0) of_blocks[blockIdx.x] = mine;
    if (!is_last(s, &a.meetings[blockIdx.y].done)) return;
    const Best best = all_best(s, of_blocks);
    const uint32_t failed = failure(best);
    if (threadIdx.x == 0) finish(a, draw, row, position, failed != 0 ? failed : best.id);
}
