/* x W^T + bias in bfloat16 by a processor with AMX, and what is done with it while it is in registers: the sum with
   another map, or the product of one half with the GELU of the other (Shazeer 2020, GEGLU).

   Programs that multiply matrices read them from a cache that virtual machines share, at a fraction of what the tiles'
   unit can take. Here a block of rows stays in the core's own cache while all weights go by, and of those the next 32
   results' are fetched while these are used.

   Channels and results are multiples of 32. Lengths are in elements. */

#include "amx.h"

enum { PANEL = 2 * SIDE };            /* results at once, and rows */
enum { ROWS = 512, CHANNELS = 2048 }; /* of a block, at most: ROWS of as many as 1024 channels, half of it of more */

typedef struct {
    int64_t channels, outs; /* of all results, of which the second half may be gates of the first */
    int64_t gated;
} Layer;
typedef struct { /* maps are (rows, channels) and (rows, outs); of a gated product (rows, outs / 2) */
    Layer layer;
    const bf16 *x, *weights, *plus; /* weights are as `order` makes them, or as they came, (outs, channels) */
    const float *bias;
    bf16 *to;
    int64_t rows, ordered;
} Work; /* what there is none of is NULL */
typedef struct {
    int64_t first, rows;  /* of x */
    int64_t begin, steps; /* of each row, its channels by 32 */
    int fresh, last;      /* whether they are the first channels, and the last */
} Block;
typedef struct { /* one thread's */
    float *sums;                          /* of channels before, four tiles of each 32 rows and 32 results */
    ALIGNED bf16 tail[PANEL * CHANNELS];  /* the last rows, filled up to 32 */
    ALIGNED bf16 panel[PANEL * CHANNELS]; /* weights of 32 results, if they have no order */
    ALIGNED float made[PANEL * PANEL];
} Desk;

/* Four bytes each. */
static inline void transpose(__m512i x[SIDE]) {
    __m512i two[SIDE], four[SIDE];
#pragma GCC unroll 8
    for (int at = 0; at < SIDE; at += 2) {
        two[at] = _mm512_unpacklo_epi32(x[at], x[at + 1]);
        two[at + 1] = _mm512_unpackhi_epi32(x[at], x[at + 1]);
    }
#pragma GCC unroll 4
    for (int at = 0; at < SIDE; at += 4)
        for (int high = 0; high < 2; high++) {
            four[at + 2 * high] = _mm512_unpacklo_epi64(two[at + high], two[at + high + 2]);
            four[at + 2 * high + 1] = _mm512_unpackhi_epi64(two[at + high], two[at + high + 2]);
        }
#pragma GCC unroll 4
    for (int at = 0; at < 4; at++) {
        const __m512i even = _mm512_shuffle_i32x4(four[at], four[at + 4], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(four[at], four[at + 4], 0xdd);
        const __m512i more_even = _mm512_shuffle_i32x4(four[at + 8], four[at + 12], 0x88);
        const __m512i more_odd = _mm512_shuffle_i32x4(four[at + 8], four[at + 12], 0xdd);
        x[at] = _mm512_shuffle_i32x4(even, more_even, 0x88);
        x[at + 4] = _mm512_shuffle_i32x4(odd, more_odd, 0x88);
        x[at + 8] = _mm512_shuffle_i32x4(even, more_even, 0xdd);
        x[at + 12] = _mm512_shuffle_i32x4(odd, more_odd, 0xdd);
    }
}

/* The weights of 16 results, (16, channels), to tiles of 32 channels, pairs of channels down and results across. */
static void order_tiles(const bf16 *from, int64_t channels, int64_t steps, bf16 *to) {
    for (int64_t step = 0; step < steps; step++) {
        __m512i lines[SIDE];
#pragma GCC unroll 16
        for (int out = 0; out < SIDE; out++) lines[out] = _mm512_loadu_si512(from + out * channels + step * STEP);
        transpose(lines);
#pragma GCC unroll 16
        for (int pair = 0; pair < SIDE; pair++) _mm512_storeu_si512(to + step * TILE + pair * STEP, lines[pair]);
    }
}

/* The first of each 16 results, as they come: those that are gated take turns with their gates. */
static int64_t sixteen(const Layer *layer, int64_t number) {
    return layer->gated ? number / 2 * SIDE + number % 2 * (layer->outs / 2) : number * SIDE;
}

/* Weights (outs, channels) to tiles; over channels, then results, as `sixteen` says. */
void order(const bf16 *weights, bf16 *to, Layer layer, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < layer.outs / SIDE; number++)
        order_tiles(weights + sixteen(&layer, number) * layer.channels, layer.channels, layer.channels / STEP,
                    to + number * SIDE * layer.channels);
}

/* x times the probability that a normal number is below x; the tail by Abramowitz and Stegun 7.1.26. */
static inline __m512 gelu(__m512 x) {
    const __m512 away = _mm512_fmadd_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.23164188f), _mm512_set1_ps(1.0f));
    const __m512 near = _mm512_rcp14_ps(away);
    const __m512 power = power_of_two(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.72134752f)));
    __m512 tail = _mm512_set1_ps(0.53070271f);
    tail = _mm512_fmadd_ps(tail, near, _mm512_set1_ps(-0.72657601f));
    tail = _mm512_fmadd_ps(tail, near, _mm512_set1_ps(0.71070687f));
    tail = _mm512_fmadd_ps(tail, near, _mm512_set1_ps(-0.14224837f));
    tail = _mm512_fmadd_ps(tail, near, _mm512_set1_ps(0.12741480f));
    tail = _mm512_mul_ps(_mm512_mul_ps(tail, near), power);
    const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_mul_ps(x, _mm512_mask_sub_ps(tail, positive, _mm512_set1_ps(1.0f), tail));
}

/* 32 results, from `out` on, of at most 32 rows, from tiles of 16 x 16. */
static void give(const Work *work, const float *made, int64_t row, int64_t rows, int64_t out) {
    const __m512 zero = _mm512_setzero_ps();
    const __m512 low = work->bias ? _mm512_loadu_ps(work->bias + sixteen(&work->layer, out / SIDE)) : zero;
    const __m512 high = work->bias ? _mm512_loadu_ps(work->bias + sixteen(&work->layer, out / SIDE + 1)) : zero;
    for (int64_t line = 0; line < rows; line++) {
        const float *tile = made + line / SIDE * 2 * SIDE * SIDE + line % SIDE * SIDE;
        __m512 one = _mm512_add_ps(_mm512_load_ps(tile), low);
        __m512 two = _mm512_add_ps(_mm512_load_ps(tile + SIDE * SIDE), high);
        if (work->layer.gated) {
            narrow(_mm512_mul_ps(one, gelu(two)), work->to + ((row + line) * work->layer.outs + out) / 2);
            continue;
        }
        const int64_t at = (row + line) * work->layer.outs + out;
        if (work->plus) {
            one = _mm512_add_ps(one, wide(work->plus + at));
            two = _mm512_add_ps(two, wide(work->plus + at + SIDE));
        }
        _mm512_storeu_si512(work->to + at, (__m512i)_mm512_cvtne2ps_pbh(two, one));
    }
}

/* 32 results, from `out` on, of a block. */
static void panel(const Work *work, const Block *block, Desk *desk, int64_t out, float *sums) {
    const int64_t channels = work->layer.channels, pairs = up(block->rows, PANEL) / PANEL;
    const int64_t apart = work->ordered ? SIDE * channels : SIDE * block->steps * STEP;
    const bf16 *near = work->ordered ? work->weights + out * channels + block->begin * SIDE : desk->panel;
    for (int64_t half = 0; half < 2 && !work->ordered; half++)
        order_tiles(work->weights + sixteen(&work->layer, out / SIDE + half) * channels + block->begin, channels,
                    block->steps, desk->panel + half * apart);
    written();
    const bf16 *far = near + apart, *next = far + apart;
    for (int64_t pair = 0; pair < pairs; pair++, sums += PANEL * PANEL) {
        const int64_t left = block->rows - pair * PANEL, line = left < PANEL ? block->steps * STEP : channels;
        const bf16 *there = work->x + (block->first + pair * PANEL) * channels + block->begin;
        const bf16 *upper = left < PANEL ? desk->tail : there, *lower = upper + SIDE * line;
        if (block->fresh) {
            _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        } else {
            _tile_loadd(0, sums, 64); _tile_loadd(1, sums + 256, 64);
            _tile_loadd(2, sums + 512, 64); _tile_loadd(3, sums + 768, 64);
        }
        for (int64_t step = 0; step < block->steps; step++) {
            for (int64_t row = pair; row < SIDE && work->ordered; row += pairs) {
                _mm_prefetch((const char *)(next + step * TILE + row * STEP), _MM_HINT_T1);
                _mm_prefetch((const char *)(next + apart + step * TILE + row * STEP), _MM_HINT_T1);
            }
            _tile_loadd(4, upper + step * STEP, 2 * line);
            _tile_loadd(6, near + step * TILE, 2 * STEP);
            _tile_loadd(7, far + step * TILE, 2 * STEP);
            _tile_loadd(5, lower + step * STEP, 2 * line);
            _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
        }
        float *made = block->last ? desk->made : sums;
        _tile_stored(0, made, 64); _tile_stored(1, made + 256, 64);
        _tile_stored(2, made + 512, 64); _tile_stored(3, made + 768, 64);
        if (!block->last) continue;
        written();
        give(work, made, block->first + pair * PANEL, left < PANEL ? left : PANEL, out);
    }
}

/* The last rows of a block where they are fewer than 32. */
static void take_tail(const Work *work, const Block *block, Desk *desk) {
    const int64_t count = block->rows % PANEL, width = block->steps * STEP, channels = work->layer.channels;
    if (!count) return;
    const bf16 *from = work->x + (block->first + block->rows - count) * channels + block->begin;
    for (int64_t row = 0; row < count; row++) memcpy(desk->tail + row * width, from + row * channels, 2 * width);
    memset(desk->tail + count * width, 0, 2 * (PANEL - count) * width);
}

/* Results `from` until `until` of some rows, their channels chunk by chunk. */
static void run(const Work *work, Desk *desk, int64_t first, int64_t rows, int64_t from, int64_t until) {
    const int64_t all = work->layer.channels / STEP, chunks = up(work->layer.channels, CHANNELS) / CHANNELS;
    const int64_t each = (all + chunks - 1) / chunks, pairs = up(rows, PANEL) / PANEL;
    for (int64_t step = 0; step < all; step += each) {
        const int64_t left = all - step;
        const Block block = {first, rows, step * STEP, left < each ? left : each, step == 0, left <= each};
        take_tail(work, &block, desk);
        for (int64_t out = from; out < until; out += PANEL)
            panel(work, &block, desk, out, desk->sums + (out - from) * pairs * PANEL);
    }
}

/* Whether there was memory for it. Where blocks do not go round, threads share the results of one. */
int linear(Work work, int threads) {
    const int64_t most = work.layer.channels > CHANNELS / 2 ? ROWS / 2 : ROWS, blocks = up(work.rows, most) / most;
    const int64_t rows = up((work.rows + blocks - 1) / blocks, PANEL);
    const int64_t parts = blocks % threads && blocks < 4 * threads ? threads : 1;
    const int64_t each = up((work.layer.outs + parts - 1) / parts, PANEL);
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        Desk *desk = aligned_alloc(64, up(sizeof(Desk), 64));
        float *sums = aligned_alloc(64, work.layer.channels > CHANNELS ? each * rows * sizeof(float) : 64);
        failed = !desk || !sums;
        if (!failed) {
            desk->sums = sums;
            _tile_loadconfig(&TILES);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < blocks * parts; item++) {
            const int64_t first = item / parts * rows, left = work.rows - first, from = item % parts * each;
            const int64_t until = from + each < work.layer.outs ? from + each : work.layer.outs;
            if (!failed && left > 0 && from < until) run(&work, desk, first, left < rows ? left : rows, from, until);
        }
        if (!failed) _tile_release();
        free(sums), free(desk);
    }
    return !failed;
}

