/* x W^T + bias in bfloat16, and what is done with it while it is near: the sum with another map, or the product of one
   half with the GELU of the other (Shazeer 2020, GEGLU).

   Programs that multiply matrices read them from a cache that virtual machines share, at a fraction of what AMX can
   take. Here a block of rows stays in the core's own cache while all weights go by, and of those the next 32 results'
   are fetched while these are used. Of the two factors one lies in tiles: weights that were ordered for it, or else the
   block, and then it is results by rows that come out, and are turned.

   Channels and results are multiples of 32. Lengths are in elements. */

#include "room.h"
#include "square.h"

typedef bf16 number, weight;
#include "linear.h"

enum { PANEL = 2 * SIDE };            /* results at once, and rows */
enum { ROWS = 512, CHANNELS = 2048 }; /* of a block, at most: ROWS of as many as 1024 channels, half of it of more */

typedef struct {
    int64_t first, rows;  /* of x */
    int64_t begin, steps; /* of each row, its channels by 32 */
    int fresh, last;      /* whether they are the first channels, and the last */
} Block;
typedef struct { /* one thread's */
    float *sums;                            /* of channels before, four tiles of each 32 rows and 32 results */
    factor *block;                          /* in tiles, where weights are not; or lined up, where it is not as read */
    ALIGNED bf16 tail[PANEL * CHANNELS];    /* the last rows, filled up to 32 */
    ALIGNED factor lines[PANEL * CHANNELS]; /* weights of 32 results, lined up, where they are not as read */
    ALIGNED float made[PANEL * PANEL];
} Desk;

static inline __m512i factors_from(__m512i pairs, int shrunken) {
    return shrunken ? as_shrunken(pairs) : as_factors(pairs);
}

/* 16 rows, `channels` apart, to tiles of 32 channels, pairs of channels down and rows across. */
static void order_tiles(const bf16 *from, int64_t channels, int64_t steps, int shrunken, factor *to) {
    for (int64_t step = 0; step < steps; step++) {
        __m512i lines[SIDE];
#pragma GCC unroll 16
        for (int row = 0; row < SIDE; row++) lines[row] = _mm512_loadu_si512(from + row * channels + step * STEP);
        transpose(lines);
#pragma GCC unroll 16
        for (int pair = 0; pair < SIDE; pair++)
            _mm512_storeu_si512(to + step * TILE + pair * STEP, factors_from(lines[pair], shrunken));
    }
}

/* 16 rows, `channels` apart, one behind the other, 32 channels of all at a time. */
static void line_up(const bf16 *from, int64_t channels, int64_t steps, int shrunken, factor *to) {
    for (int64_t row = 0; row < SIDE; row++)
        for (int64_t step = 0; step < steps; step++) {
            const __m512i pairs = _mm512_loadu_si512(from + row * channels + step * STEP);
            _mm512_storeu_si512(to + step * TILE + row * STEP, factors_from(pairs, shrunken));
        }
}

static Rows lined_up(const factor *first, int64_t width) { return (Rows){first, first + SIDE * width, STEP, TILE}; }

/* Weights (outs, channels) to tiles; over channels, then results, as `sixteen` says. */
void order(const bf16 *weights, factor *to, Layer layer, int64_t bytes, int threads) {
    (void)bytes;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < layer.outs / SIDE; number++)
        order_tiles(weights + sixteen(&layer, number) * layer.channels, layer.channels, layer.channels / STEP, 0,
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

/* From tiles of results by rows to those of rows by results. */
static void turn(float made[PANEL * PANEL]) {
    __m512i tiles[4][SIDE];
    for (int tile = 0; tile < 4; tile++) {
        for (int row = 0; row < SIDE; row++) tiles[tile][row] = _mm512_load_si512(made + (tile * SIDE + row) * SIDE);
        transpose(tiles[tile]);
    }
    for (int tile = 0; tile < 4; tile++) {
        const int from = tile % 2 * 2 + tile / 2;
        for (int row = 0; row < SIDE; row++) _mm512_store_si512(made + (tile * SIDE + row) * SIDE, tiles[from][row]);
    }
}

/* The first of 32 rows of a block as they are read, and how far it is from one to the next. */
static const bf16 *rows_of(const Work *work, const Block *block, const Desk *desk, int64_t row, int64_t *apart) {
    *apart = block->rows - row < PANEL ? block->steps * STEP : work->layer.channels;
    const bf16 *there = work->x + (block->first + row) * work->layer.channels + block->begin;
    return block->rows - row < PANEL ? desk->tail : there;
}

static Rows factors_of_rows(const Work *work, const Block *block, const Desk *desk, int64_t row) {
    int64_t apart;
    const bf16 *upper = rows_of(work, block, desk, row, &apart);
    if (!AS_READ) return lined_up(desk->block + row * block->steps * STEP, block->steps * STEP);
    return (Rows){upper, upper + SIDE * apart, apart, STEP};
}

/* Sums of 32 rows of a block, by 32 results, from `out` on, of weights in tiles. */
static void by_ordered(const Work *work, const Block *block, const Desk *desk, int64_t row, int64_t out, float *sums) {
    const int64_t panel = SIDE * work->layer.channels;
    const factor *near = work->weights + out * work->layer.channels + block->begin * SIDE, *next = near + 2 * panel;
    const Columns columns = {near, near + panel, TILE, 1};
    const Ahead ahead = {next, next + panel, STEP, TILE, row / PANEL, up(block->rows, PANEL) / PANEL};
    const Rows rows = factors_of_rows(work, block, desk, row);
    multiply(rows, columns, block->steps * SIDE, block->fresh, in_tiles(sums), ahead);
}

/* Those of 32 results by 32 rows of a block in tiles. */
static void by_block(const Work *work, const Block *block, const Desk *desk, int64_t row, int64_t out, float *sums) {
    const int64_t channels = work->layer.channels, panel = SIDE * STEP * block->steps;
    const bf16 *first = work->weights + block->begin, *lines[4];
    const factor *near = desk->block + row / SIDE * panel;
    for (int half = 0; half < 4; half++) lines[half] = first + sixteen(&work->layer, out / SIDE + half) * channels;
    const Rows rows = AS_READ ? (Rows){lines[0], lines[1], channels, STEP} : lined_up(desk->lines, panel / SIDE);
    const Columns columns = {near, near + panel, TILE, block->rows - row > SIDE};
    const Ahead ahead = {lines[2], lines[3], channels, STEP, row / PANEL, up(block->rows, PANEL) / PANEL};
    multiply(rows, columns, block->steps * SIDE, block->fresh, in_tiles(sums), ahead);
}

/* The weights of 32 results, from `out` on, where they come by rows and are not multiplied as they are read. */
static void line_up_weights(const Work *work, const Block *block, Desk *desk, int64_t out) {
    const bf16 *first = work->weights + block->begin;
    for (int64_t half = 0; half < 2; half++)
        line_up(first + sixteen(&work->layer, out / SIDE + half) * work->layer.channels, work->layer.channels,
                block->steps, 0, desk->lines + half * SIDE * STEP * block->steps);
}

/* 32 results, from `out` on, of a block. */
static void panel(const Work *work, const Block *block, Desk *desk, int64_t out, float *sums) {
    if (!AS_READ && !work->ordered) line_up_weights(work, block, desk, out);
    for (int64_t row = 0; row < block->rows; row += PANEL, sums += PANEL * PANEL) {
        const int64_t left = block->rows - row;
        float *made = block->fresh && block->last ? desk->made : sums;
        (work->ordered ? by_ordered : by_block)(work, block, desk, row, out, made);
        if (!block->last) continue;
        if (!work->ordered) turn(made);
        give(work, made, block->first + row, left < PANEL ? left : PANEL, out);
    }
}

/* The last rows of a block where they are fewer than 32; and all, in tiles where weights are not, or else lined up
   where they are not multiplied as they are read. */
static void take(const Work *work, const Block *block, Desk *desk) {
    const int64_t count = block->rows % PANEL, width = block->steps * STEP, channels = work->layer.channels;
    const bf16 *from = work->x + (block->first + block->rows - count) * channels + block->begin;
    for (int64_t row = 0; row < count; row++) memcpy(desk->tail + row * width, from + row * channels, 2 * width);
    if (count) memset(desk->tail + count * width, 0, 2 * (PANEL - count) * width);
    if (work->ordered && AS_READ) return;
    for (int64_t row = 0; row < up(block->rows, PANEL); row += SIDE) {
        int64_t apart;
        const bf16 *there = rows_of(work, block, desk, row / PANEL * PANEL, &apart) + row % PANEL * apart;
        (work->ordered ? line_up : order_tiles)(there, apart, block->steps, 1, desk->block + row * width);
    }
}

/* Results `from` until `until` of some rows, their channels chunk by chunk. */
static void run(const Work *work, Desk *desk, int64_t first, int64_t rows, int64_t from, int64_t until) {
    const int64_t all = work->layer.channels / STEP, chunks = up(work->layer.channels, CHANNELS) / CHANNELS;
    const int64_t each = (all + chunks - 1) / chunks, pairs = up(rows, PANEL) / PANEL;
    for (int64_t step = 0; step < all; step += each) {
        const int64_t left = all - step;
        const Block block = {first, rows, step * STEP, left < each ? left : each, step == 0, left <= each};
        take(work, &block, desk);
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
        const int64_t width = work.layer.channels < CHANNELS ? work.layer.channels : CHANNELS;
        const int64_t sums = work.layer.channels > width ? each * rows : 0;
        const int64_t tiles = work.ordered && AS_READ ? 0 : rows * width;
        Desk *desk = room(sizeof(Desk) + sums * sizeof(float) + tiles * sizeof(factor));
        failed = !desk;
        if (!failed) {
            desk->sums = (float *)(desk + 1), desk->block = (factor *)(desk->sums + sums);
            begin();
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < blocks * parts; item++) {
            const int64_t first = item / parts * rows, left = work.rows - first, from = item % parts * each;
            const int64_t until = from + each < work.layer.outs ? from + each : work.layer.outs;
            if (!failed && left > 0 && from < until) run(&work, desk, first, left < rows ? left : rows, from, until);
        }
        if (!failed) end();
    }
    return !failed;
}

