/* softmax(scale Q K^T) V in bfloat16, by a processor with AMX: N queries and M keys of D channels for each head.

   A block of queries meets a block of keys at a time, whose scores, in float32, stay in the cache; what was summed
   before is then scaled to the new maximum (Milakov and Gimelshein 2018; Dao et al. 2022). torch's kernel does the same
   and spends most of its time in exponentials. Here one takes six instructions: it is rounded to eight bits anyhow.

   Lengths and strides are in elements. A head's keys and values are packed as the tiles want them, filled up with zeros
   to whole ones. */

#include "amx.h"

enum { ROWS = 2 * SIDE, KEYS = 512, CHANNELS = 256 }; /* queries and keys of a block; the most channels */

typedef struct { int64_t batch, head, row; } Strides;
typedef struct { const bf16 *data; Strides by; } Map;
typedef struct {
    int64_t queries, keys, channels; /* N, M, D */
    int64_t all_keys, all_channels;  /* filled up to multiples of 32 */
    int64_t steps, columns;          /* tiles of 32 channels in a query, of 16 in a result */
    float scale;                     /* of scores that are powers of two */
} Sizes;
typedef struct { /* one thread's; `most` and `total` of the scores seen so far */
    bf16 *keys, *values;
    ALIGNED bf16 query[ROWS * CHANNELS];
    ALIGNED bf16 shares[ROWS * KEYS];
    ALIGNED float scores[ROWS * KEYS];
    ALIGNED float sums[ROWS * CHANNELS];
    float most[ROWS], total[ROWS];
} Desk;

/* Tiles of 16 keys by 32 channels, pairs of channels down and keys across. */
static void pack_keys(const bf16 *from, int64_t row, const Sizes *sizes, bf16 *to) {
    for (int64_t key = 0; key < sizes->all_keys; key++)
        for (int64_t step = 0; step < sizes->steps; step++) {
            uint32_t pairs[SIDE], *tile = (uint32_t *)(to + (key / SIDE * sizes->steps + step) * TILE);
            int64_t left = key < sizes->keys ? sizes->channels - step * STEP : 0;
            __mmask32 there = left >= STEP ? ~0u : left > 0 ? (1u << left) - 1 : 0;
            _mm512_storeu_si512(pairs, _mm512_maskz_loadu_epi16(there, from + key * row + step * STEP));
            for (int pair = 0; pair < SIDE; pair++) tile[pair * SIDE + key % SIDE] = pairs[pair];
        }
}

/* Tiles of 32 keys by 16 channels, pairs of keys down and channels across. */
static void pack_values(const bf16 *from, int64_t row, const Sizes *sizes, bf16 *to) {
    for (int64_t key = 0; key < sizes->all_keys; key += 2)
        for (int64_t column = 0; column < sizes->columns; column++) {
            bf16 *line = to + (key / STEP * sizes->columns + column) * TILE + key % STEP * SIDE;
            int64_t left = sizes->channels - column * SIDE;
            __mmask16 there = left >= SIDE ? 0xffff : (1u << left) - 1;
            __m512i both[2];
            for (int one = 0; one < 2; one++)
                both[one] = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(
                    key + one < sizes->keys ? there : 0, from + (key + one) * row + column * SIDE));
            _mm512_storeu_si512(line, _mm512_or_si512(both[0], _mm512_slli_epi32(both[1], 16)));
        }
}

static void take_queries(const bf16 *from, int64_t row, int64_t count, const Sizes *sizes, Desk *desk) {
    for (int64_t query = 0; query < ROWS; query++)
        for (int64_t step = 0; step < sizes->steps; step++) {
            int64_t left = query < count ? sizes->channels - step * STEP : 0;
            __mmask32 there = left >= STEP ? ~0u : left > 0 ? (1u << left) - 1 : 0;
            _mm512_store_si512(desk->query + query * sizes->all_channels + step * STEP,
                               _mm512_maskz_loadu_epi16(there, from + query * row + step * STEP));
        }
    for (int64_t query = 0; query < ROWS; query++) desk->most[query] = -__builtin_inff(), desk->total[query] = 0;
    memset(desk->sums, 0, sizeof(float) * ROWS * SIDE * sizes->columns);
}

/* Keys that only fill up the last tile have no share. */
static void hide(Desk *desk, int64_t from, int64_t width) {
    for (int64_t key = from / SIDE * SIDE; key < width; key += SIDE) {
        const __mmask16 hidden = key < from ? 0xffff << (from - key) : 0xffff;
        for (int64_t query = 0; query < ROWS; query++)
            _mm512_mask_store_ps(desk->scores + query * KEYS + key, hidden, _mm512_set1_ps(-__builtin_inff()));
    }
}

/* The scores of `width` keys from `first` on. */
static void score(Desk *desk, const Sizes *sizes, int64_t first, int64_t width) {
    const int64_t row = 2 * sizes->all_channels;
    written();
    for (int64_t key = 0; key < width; key += STEP) {
        const bf16 *near = desk->keys + (first + key) / SIDE * sizes->steps * TILE, *far = near + sizes->steps * TILE;
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        for (int64_t step = 0; step < sizes->steps; step++) {
            _tile_loadd(4, desk->query + step * STEP, row);
            _tile_loadd(5, desk->query + SIDE * sizes->all_channels + step * STEP, row);
            _tile_loadd(6, near + step * TILE, 4 * SIDE);
            _tile_loadd(7, far + step * TILE, 4 * SIDE);
            _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
        }
        float *to = desk->scores + key;
        _tile_stored(0, to, 4 * KEYS); _tile_stored(1, to + SIDE, 4 * KEYS);
        _tile_stored(2, to + SIDE * KEYS, 4 * KEYS); _tile_stored(3, to + SIDE * KEYS + SIDE, 4 * KEYS);
    }
    if (first + width > sizes->keys) hide(desk, sizes->keys - first, width);
}

/* From scores to shares that are not yet divided by their sum; what was summed before is scaled alike. */
static void share(Desk *desk, const Sizes *sizes, int64_t width) {
    const __m512 scale = _mm512_set1_ps(sizes->scale);
    for (int64_t query = 0; query < ROWS; query++) {
        const float *scores = desk->scores + query * KEYS;
        __m512 some = _mm512_loadu_ps(scores), others = _mm512_loadu_ps(scores + SIDE);
        for (int64_t key = STEP; key < width; key += STEP) {
            some = _mm512_max_ps(some, _mm512_load_ps(scores + key));
            others = _mm512_max_ps(others, _mm512_load_ps(scores + key + SIDE));
        }
        float before = desk->most[query], most = _mm512_reduce_max_ps(_mm512_max_ps(some, others)) * sizes->scale;
        most = most > before ? most : before;
        const __m512 least = _mm512_set1_ps(-most);
        __m512 total = _mm512_setzero_ps(), rest = _mm512_setzero_ps();
        for (int64_t key = 0; key < width; key += STEP) {
            __m512 one = power_of_two(_mm512_fmadd_ps(_mm512_load_ps(scores + key), scale, least));
            __m512 two = power_of_two(_mm512_fmadd_ps(_mm512_load_ps(scores + key + SIDE), scale, least));
            total = _mm512_add_ps(total, one), rest = _mm512_add_ps(rest, two);
            _mm512_store_si512(desk->shares + query * KEYS + key, (__m512i)_mm512_cvtne2ps_pbh(two, one));
        }
        float now = _mm512_reduce_add_ps(_mm512_add_ps(total, rest));
        if (most == before) {
            desk->total[query] += now;
            continue;
        }
        float factor = __builtin_exp2f(before - most), *sums = desk->sums + query * SIDE * sizes->columns;
        desk->total[query] = desk->total[query] * factor + now;
        desk->most[query] = most;
        for (int64_t column = 0; column < sizes->columns; column++, sums += SIDE)
            _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(factor)));
    }
}

/* Add the values of `width` keys from `first` on, by their shares. */
static void add_values(Desk *desk, const Sizes *sizes, int64_t first, int64_t width) {
    const int64_t row = 4 * SIDE * sizes->columns;
    written();
    for (int64_t column = 0; column < sizes->columns; column += 2) {
        const int two = column + 1 < sizes->columns;
        float *upper = desk->sums + column * SIDE, *lower = upper + SIDE * SIDE * sizes->columns;
        _tile_loadd(0, upper, row); _tile_loadd(2, lower, row);
        if (two) { _tile_loadd(1, upper + SIDE, row); _tile_loadd(3, lower + SIDE, row); }
        for (int64_t key = 0; key < width; key += STEP) {
            const bf16 *tile = desk->values + ((first + key) / STEP * sizes->columns + column) * TILE;
            _tile_loadd(4, desk->shares + key, 2 * KEYS);
            _tile_loadd(5, desk->shares + SIDE * KEYS + key, 2 * KEYS);
            _tile_loadd(6, tile, 4 * SIDE);
            _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(2, 5, 6);
            if (!two) continue;
            _tile_loadd(7, tile + TILE, 4 * SIDE);
            _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, upper, row); _tile_stored(2, lower, row);
        if (two) { _tile_stored(1, upper + SIDE, row); _tile_stored(3, lower + SIDE, row); }
    }
}

static void give(const Desk *desk, const Sizes *sizes, int64_t count, bf16 *to, int64_t row) {
    for (int64_t query = 0; query < count; query++)
        for (int64_t column = 0; column < sizes->columns; column++) {
            int64_t left = sizes->channels - column * SIDE;
            __mmask16 there = left >= SIDE ? 0xffff : (1u << left) - 1;
            __m512 sums = _mm512_load_ps(desk->sums + (query * sizes->columns + column) * SIDE);
            __m512 mean = _mm512_div_ps(sums, _mm512_set1_ps(desk->total[query]));
            _mm256_mask_storeu_epi16(to + query * row + column * SIDE, there, (__m256i)_mm512_cvtneps_pbh(mean));
        }
}

static void attend_block(Desk *desk, const Sizes *sizes, const bf16 *queries, int64_t row, int64_t count, bf16 *to,
                         int64_t to_row) {
    take_queries(queries, row, count, sizes, desk);
    for (int64_t first = 0; first < sizes->all_keys; first += KEYS) {
        int64_t width = sizes->all_keys - first < KEYS ? sizes->all_keys - first : KEYS;
        score(desk, sizes, first, width);
        share(desk, sizes, width);
        add_values(desk, sizes, first, width);
    }
    give(desk, sizes, count, to, to_row);
}

/* Whether there was memory for it; D is at most CHANNELS. */
int attend(Map query, Map key, Map value, bf16 *to, Strides to_by, int64_t batch, int64_t heads, int64_t queries,
           int64_t keys, int64_t channels, float scale, int threads) {
    Sizes sizes = {queries, keys, channels, up(keys, STEP), up(channels, STEP), up(channels, STEP) / STEP,
                   up(channels, SIDE) / SIDE, scale * 1.44269504f};
    const int64_t blocks = up(queries, ROWS) / ROWS, pairs = batch * heads, parts = (2 * threads + pairs - 1) / pairs;
    const int64_t each = (blocks + parts - 1) / parts;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int64_t packed = -1, room = sizes.all_keys * (sizes.all_channels + sizes.columns * SIDE);
        Desk *desk = aligned_alloc(64, up(sizeof(Desk), 64));
        bf16 *memory = aligned_alloc(64, up(2 * room, 64));
        failed = !desk || !memory;
        if (!failed) {
            desk->keys = memory, desk->values = memory + sizes.all_keys * sizes.all_channels;
            _tile_loadconfig(&TILES);
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
        if (!failed) _tile_release();
        free(desk), free(memory);
    }
    return !failed;
}
