/* softmax(scale Q K^T) V in bfloat16: N queries and M keys of D channels for each head.

   A block of queries meets 32 keys at a time, whose scores, in float32, stay in the first cache (Milakov and Gimelshein
   2018; Dao et al. 2022). Shares are powers of two, not yet divided by their sum, relative to the largest score among
   the first keys: there is room for larger ones, and only where one exceeds 2^HEADROOM is all that was summed before
   scaled down. torch's kernel spends most of its time in exponentials. Here one takes six instructions: it is rounded
   to eight bits anyhow.

   Lengths and strides are in elements. A head's keys and values are packed in tiles, filled up with zeros
   to whole ones. */

#include "room.h"
#include "square.h"

typedef bf16 number;
#include "attention.h"

enum { ROWS = 2 * SIDE, KEYS = 256, CHANNELS = 512 }; /* queries and keys of a block; the most channels */
enum { LINE = KEYS + STEP }; /* of shares in memory: by a power of two all would share a few places of the cache */

typedef struct {
    int64_t queries, keys, channels; /* N, M, D */
    int64_t all_keys, all_channels;  /* filled up to multiples of 32 */
    int64_t steps, columns;          /* tiles of 32 channels in a query, of 16 in a result */
    int beside;                      /* whether shares are summed beside the values, which fill their tiles */
    float scale;                     /* of scores that are powers of two */
} Sizes;
typedef struct { /* one thread's */
    factor *keys, *values;
    ALIGNED factor query[ROWS * CHANNELS];
    ALIGNED factor shares[ROWS * LINE];
    ALIGNED float scores[2][ROWS * STEP]; /* of 32 keys and of the next, as tiles of 16 by 16 */
    ALIGNED float sums[ROWS * CHANNELS]; /* of values by their shares, and behind them of the shares */
    ALIGNED float totals[ROWS * SIDE];   /* or of the shares, where they are summed beside */
    float most[ROWS];                    /* what scores are relative to */
} Desk;

/* Tiles of 16 keys by 32 channels, pairs of channels down and keys across. */
static void pack_keys(const bf16 *from, int64_t row, const Sizes *sizes, factor *to) {
    for (int64_t key = 0; key < sizes->all_keys; key++)
        for (int64_t step = 0; step < sizes->steps; step++) {
            uint32_t pairs[SIDE], *tile = (uint32_t *)(to + (key / SIDE * sizes->steps + step) * TILE);
            int64_t left = key < sizes->keys ? sizes->channels - step * STEP : 0;
            __mmask32 there = left >= STEP ? ~0u : left > 0 ? (1u << left) - 1 : 0;
            _mm512_storeu_si512(pairs, as_factors(_mm512_maskz_loadu_epi16(there, from + key * row + step * STEP)));
            for (int pair = 0; pair < SIDE; pair++) tile[pair * SIDE + key % SIDE] = pairs[pair];
        }
}

/* Tiles of 32 keys by 16 channels, pairs of keys down and channels across. Behind the channels comes a one, where they
   leave room for it: so shares are summed as they were rounded, which takes most of the rounding out of what is divided
   by the sum. */
static void pack_values(const bf16 *from, int64_t row, const Sizes *sizes, factor *to) {
    for (int64_t key = 0; key < sizes->all_keys; key += 2)
        for (int64_t column = 0; column < sizes->columns; column++) {
            factor *line = to + (key / STEP * sizes->columns + column) * TILE + key % STEP * SIDE;
            int64_t left = sizes->channels - column * SIDE;
            __mmask16 there = left >= SIDE ? 0xffff : (1u << left) - 1;
            const __m256i ones = _mm256_maskz_set1_epi16(left < SIDE ? 1u << left : 0, 0x3f80);
            __m512i both[2];
            for (int one = 0; one < 2; one++)
                both[one] = _mm512_cvtepu16_epi32(_mm256_mask_loadu_epi16(
                    ones, key + one < sizes->keys ? there : 0, from + (key + one) * row + column * SIDE));
            _mm512_storeu_si512(line, as_shrunken(_mm512_or_si512(both[0], _mm512_slli_epi32(both[1], 16))));
        }
}

static void take_queries(const bf16 *from, int64_t row, int64_t count, const Sizes *sizes, Desk *desk) {
    for (int64_t query = 0; query < ROWS; query++)
        for (int64_t step = 0; step < sizes->steps; step++) {
            int64_t left = query < count ? sizes->channels - step * STEP : 0;
            __mmask32 there = left >= STEP ? ~0u : left > 0 ? (1u << left) - 1 : 0;
            _mm512_store_si512(desk->query + query * sizes->all_channels + step * STEP,
                               as_shrunken(_mm512_maskz_loadu_epi16(there, from + query * row + step * STEP)));
        }
    memset(desk->sums, 0, sizeof(float) * ROWS * SIDE * sizes->columns);
    memset(desk->totals, 0, sizeof desk->totals);
}

INLINE void scale_by(float *sums, __m512 by) { _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), by)); }

static inline float *score_of(float *scores, int64_t query) {
    return scores + query / SIDE * 2 * SIDE * SIDE + query % SIDE * SIDE;
}

/* Keys that only fill up the last tiles have no share. */
static void hide(float *scores, int64_t there) {
    const __mmask16 near = there < SIDE ? 0xffff << there : 0, far = there < SIDE ? 0xffff : 0xffff << (there - SIDE);
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    for (int64_t query = 0; query < ROWS; query++) {
        _mm512_mask_store_ps(score_of(scores, query), near, none);
        _mm512_mask_store_ps(score_of(scores, query) + SIDE * SIDE, far, none);
    }
}

/* The scores of 32 keys. */
static void score(const Desk *desk, const Sizes *sizes, int64_t key, float *to) {
    const factor *near = desk->keys + key / SIDE * sizes->steps * TILE;
    const Rows rows = {desk->query, desk->query + SIDE * sizes->all_channels, sizes->all_channels, STEP};
    const Columns columns = {near, near + sizes->steps * TILE, TILE, 1};
    multiply(rows, columns, (sizes->channels + 1) / 2, 1, in_tiles(to), NOTHING);
    if (key + STEP > sizes->keys) hide(to, sizes->keys - key);
}

/* Relative to a score that is larger by `over`: what was summed of a query before, and its `count` shares. */
static void lower(Desk *desk, const Sizes *sizes, int64_t query, float over, int64_t count) {
    const __m512 by = _mm512_set1_ps(__builtin_exp2f(-over));
    float *sums = desk->sums + query * SIDE * sizes->columns;
    factor *shares = desk->shares + query * LINE;
    desk->most[query] += over;
    for (int64_t column = 0; column < sizes->columns; column++) scale_by(sums + column * SIDE, by);
    scale_by(desk->totals + query * SIDE, by);
    for (int64_t key = 0; key < count; key += SIDE)
        narrow_factors(_mm512_mul_ps(wide_factors(shares + key), by), shares + key);
}

/* From the scores of 32 keys to their shares, those from `key` on of a block. */
static void share(Desk *desk, const Sizes *sizes, float *scores, int64_t key, int first) {
    const __m512 scale = _mm512_set1_ps(sizes->scale), far = _mm512_set1_ps(HEADROOM);
    for (int64_t query = 0; query < ROWS; query++) {
        const float *at = score_of(scores, query);
        const __m512 near_scores = _mm512_load_ps(at), far_scores = _mm512_load_ps(at + SIDE * SIDE);
        if (first) desk->most[query] = _mm512_reduce_max_ps(_mm512_max_ps(near_scores, far_scores)) * sizes->scale;
        __m512 least = _mm512_set1_ps(-desk->most[query]);
        __m512 one = _mm512_fmadd_ps(near_scores, scale, least), two = _mm512_fmadd_ps(far_scores, scale, least);
        const __m512 larger = _mm512_max_ps(one, two);
        if (__builtin_expect(_mm512_cmp_ps_mask(larger, far, _CMP_GT_OQ), 0)) {
            lower(desk, sizes, query, _mm512_reduce_max_ps(larger), key);
            least = _mm512_set1_ps(-desk->most[query]);
            one = _mm512_fmadd_ps(near_scores, scale, least), two = _mm512_fmadd_ps(far_scores, scale, least);
        }
        const __m512i shares = factors_of(power_of_two(one), power_of_two(two));
        _mm512_store_si512(desk->shares + query * LINE + key, shares);
        if (sizes->beside) {
            float *total = desk->totals + query * SIDE;
            _mm512_store_ps(total, with_factors(_mm512_load_ps(total), shares));
        }
    }
}

/* Add the values of `width` keys from `first` on, by their shares. */
static void add_values(Desk *desk, const Sizes *sizes, int64_t first, int64_t width) {
    const int64_t row = SIDE * sizes->columns;
    const Rows rows = {desk->shares, desk->shares + SIDE * LINE, LINE, STEP};
    const factor *tiles = desk->values + first / STEP * sizes->columns * TILE;
    for (int64_t column = 0; column < sizes->columns; column += 2, tiles += 2 * TILE) {
        const Sums to = {desk->sums + column * SIDE, row, SIDE, SIDE * row};
        if (column + 1 < sizes->columns)
            multiply(rows, (Columns){tiles, tiles + TILE, sizes->columns * TILE, 1}, width / 2, 0, to, NOTHING);
        else
            multiply(rows, (Columns){tiles, tiles, sizes->columns * TILE, 0}, width / 2, 0, to, NOTHING);
    }
}

static void give(const Desk *desk, const Sizes *sizes, int64_t count, bf16 *to, int64_t row) {
    for (int64_t query = 0; query < count; query++) {
        const float *behind = desk->sums + query * SIDE * sizes->columns + sizes->channels;
        const float total = sizes->beside ? _mm512_reduce_add_ps(_mm512_load_ps(desk->totals + query * SIDE)) : *behind;
        for (int64_t column = 0; column < sizes->columns; column++) {
            int64_t left = sizes->channels - column * SIDE;
            __mmask16 there = left >= SIDE ? 0xffff : (1u << left) - 1;
            __m512 sums = _mm512_load_ps(desk->sums + (query * sizes->columns + column) * SIDE);
            __m512 mean = _mm512_div_ps(sums, _mm512_set1_ps(total));
            _mm256_mask_storeu_epi16(to + query * row + column * SIDE, there, (__m256i)_mm512_cvtneps_pbh(mean));
        }
    }
}

static void attend_block(Desk *desk, const Sizes *sizes, const bf16 *queries, int64_t row, int64_t count, bf16 *to,
                         int64_t to_row) {
    take_queries(queries, row, count, sizes, desk);
    for (int64_t first = 0; first < sizes->all_keys; first += KEYS) {
        int64_t width = sizes->all_keys - first < KEYS ? sizes->all_keys - first : KEYS;
        score(desk, sizes, first, desk->scores[0]);
        for (int64_t key = 0; key < width; key += STEP) { /* the next are multiplied while these are raised */
            if (key + STEP < width) score(desk, sizes, first + key + STEP, desk->scores[(key / STEP + 1) % 2]);
            share(desk, sizes, desk->scores[key / STEP % 2], key, first + key == 0);
        }
        add_values(desk, sizes, first, width);
    }
    give(desk, sizes, count, to, to_row);
}

/* Whether there was memory for it; D is at most CHANNELS. */
int attend(Map query, Map key, Map value, bf16 *to, Strides to_by, int64_t batch, int64_t heads, int64_t queries,
           int64_t keys, int64_t channels, float scale, int threads) {
    Sizes sizes = {queries, keys, channels, up(keys, STEP), up(channels, STEP), up(channels, STEP) / STEP,
                   up(channels, SIDE) / SIDE, channels % SIDE == 0, scale * 1.44269504f};
    const int64_t blocks = up(queries, ROWS) / ROWS, pairs = batch * heads, parts = (2 * threads + pairs - 1) / pairs;
    const int64_t each = (blocks + parts - 1) / parts;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int64_t packed = -1;
        const int64_t numbers = sizes.all_keys * (sizes.all_channels + sizes.columns * SIDE); /* of keys and values */
        Desk *desk = room(sizeof(Desk) + numbers * sizeof(factor));
        failed = !desk;
        if (!failed) {
            desk->keys = (factor *)(desk + 1), desk->values = desk->keys + sizes.all_keys * sizes.all_channels;
            begin();
        }
#pragma omp for schedule(static)
        for (int64_t item = 0; item < pairs * parts; item++) {
            if (failed) continue;
            const int64_t pair = item / parts, b = pair / heads, h = pair % heads;
            if (pair != packed) {
                pack_keys(key.data + b * key.by.batch + h * key.by.head, key.by.row, &sizes, desk->keys);
                pack_values(value.data + b * value.by.batch + h * value.by.head, value.by.row, &sizes, desk->values);
                packed = pair;
            }
            for (int64_t block = item % parts * each; block < blocks && block < (item % parts + 1) * each; block++) {
                int64_t first = block * ROWS, count = queries - first < ROWS ? queries - first : ROWS;
                attend_block(desk, &sizes, query.data + b * query.by.batch + h * query.by.head + first * query.by.row,
                             query.by.row, count, to + b * to_by.batch + h * to_by.head + first * to_by.row, to_by.row);
            }
        }
        if (!failed) end();
    }
    return !failed;
}
