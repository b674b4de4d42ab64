/* softmax(scale Q K^T) V in float32: N queries and M keys of D channels for each head.

   A block of queries meets some keys at a time, whose scores stay in the cache; what is summed is relative to the
   largest score so far (Milakov and Gimelshein 2018; Dao et al. 2022). Lengths and strides are in numbers. */

#include "float32.h"
#include "room.h"

typedef float number;
#include "attention.h"

enum { QUERIES = 8 * ROWS, KEYS = 128, CHANNELS = 512 }; /* of a block; the most channels */
enum { LINE = KEYS + LANES }; /* of scores in memory: by a power of two all would share a few places of the cache */

typedef struct { int64_t keys, channels, columns; /* M, D, and D up to LANES */ } Sizes;
typedef struct { /* one thread's */
    float *keys, *values; /* of WIDTH keys each channel; of WIDTH channels each key, and of LANES at the end */
    float query[QUERIES * CHANNELS], scores[QUERIES * LINE], sums[QUERIES * CHANNELS];
    float most[QUERIES], totals[QUERIES]; /* the largest score so far; of the shares */
} Desk;

static void pack_keys(const float *from, int64_t row, const Sizes *sizes, float *to) {
    memset(to, 0, up(sizes->keys, WIDTH) * sizes->channels * sizeof(float));
    for (int64_t key = 0; key < sizes->keys; key++)
        for (int64_t channel = 0; channel < sizes->channels; channel++)
            to[(key / WIDTH * sizes->channels + channel) * WIDTH + key % WIDTH] = from[key * row + channel];
}

/* Those of the columns from `first` on: where they lie, and how many of a key's lie together. */
static Columns values_from(const Desk *desk, const Sizes *sizes, int64_t first, int64_t key, int64_t count) {
    const int few = sizes->columns - first < WIDTH;
    return (Columns){desk->values + first * sizes->keys + key * (few ? LANES : WIDTH), count, few};
}

static void pack_values(const float *from, int64_t row, const Sizes *sizes, Desk *desk) {
    for (int64_t first = 0; first < sizes->columns; first += WIDTH) {
        const Columns columns = values_from(desk, sizes, first, 0, sizes->keys);
        const int64_t width = columns.few ? LANES : WIDTH, left = sizes->channels - first;
        float *to = desk->values + first * sizes->keys;
        for (int64_t key = 0; key < sizes->keys; key++)
            for (int64_t column = 0; column < width; column++)
                to[key * width + column] = column < left ? from[key * row + first + column] : 0;
    }
}

/* By `scale`, a row of numbers. */
INLINE void scaled(const float *from, float scale, int64_t count, float *to) {
    int64_t at = 0;
    for (; at + LANES <= count; at += LANES) store(load(from + at) * scale, to + at);
    for (; at < count; at++) to[at] = from[at] * scale;
}

static void take_queries(const float *from, int64_t row, int64_t count, const Sizes *sizes, float scale, Desk *desk) {
    for (int64_t query = 0; query < count; query++) {
        scaled(from + query * row, scale, sizes->channels, desk->query + query * sizes->channels);
        desk->most[query] = -1e30f, desk->totals[query] = 0;
    }
    memset(desk->sums, 0, count * sizes->columns * sizeof(float));
}

/* The scores of `width` keys from `first` on; those that fill up a last WIDTH have no share. */
static void score(Desk *desk, const Sizes *sizes, int64_t count, int64_t first, int64_t width) {
    const Rows rows = {desk->query, count, sizes->channels};
    for (int64_t key = 0; key < width; key += WIDTH)
        multiply(rows, (Columns){desk->keys + (first + key) * sizes->channels, sizes->channels, 0}, 0,
                 (Sums){desk->scores + key, LINE});
    for (int64_t query = 0; query < count; query++)
        for (int64_t key = width; key < up(width, WIDTH); key++) desk->scores[query * LINE + key] = -__builtin_inff();
}

/* From a query's scores to shares relative to the largest of all that were seen. */
static void share(Desk *desk, const Sizes *sizes, int64_t query, int64_t width) {
    float *scores = desk->scores + query * LINE, *sums = desk->sums + query * sizes->columns, most = desk->most[query];
    lanes largest = all(most), total = {};
    for (int64_t key = 0; key < width; key += LANES) largest = larger(load(scores + key), largest);
    for (int lane = 0; lane < LANES; lane++) most = largest[lane] > most ? largest[lane] : most;
    for (int64_t key = 0; key < width; key += LANES) {
        const lanes shares = exponential(load(scores + key) - most);
        total += shares;
        store(shares, scores + key);
    }
    const lanes before = exponential(all(desk->most[query] - most));
    for (int64_t column = 0; column < sizes->columns && most > desk->most[query]; column += LANES)
        store(load(sums + column) * before, sums + column);
    desk->totals[query] = desk->totals[query] * before[0] + sum(total);
    desk->most[query] = most;
}

static void attend_block(Desk *desk, const Sizes *sizes, int64_t count, float *to, int64_t row) {
    for (int64_t first = 0; first < sizes->keys; first += KEYS) {
        const int64_t width = sizes->keys - first < KEYS ? sizes->keys - first : KEYS;
        score(desk, sizes, count, first, width);
        for (int64_t query = 0; query < count; query++) share(desk, sizes, query, up(width, WIDTH));
        for (int64_t column = 0; column < sizes->columns; column += WIDTH)
            multiply((Rows){desk->scores, count, LINE}, values_from(desk, sizes, column, first, width), 1,
                     (Sums){desk->sums + column, sizes->columns});
    }
    for (int64_t query = 0; query < count; query++)
        scaled(desk->sums + query * sizes->columns, 1 / desk->totals[query], sizes->channels, to + query * row);
}

/* Whether there was memory for it; D is at most CHANNELS. */
int attend(Map query, Map key, Map value, float *to, Strides to_by, int64_t batch, int64_t heads, int64_t queries,
           int64_t keys, int64_t channels, float scale, int threads) {
    const Sizes sizes = {keys, channels, up(channels, LANES)};
    const int64_t pairs = batch * heads, blocks = (queries + QUERIES - 1) / QUERIES;
    const int64_t parts = (2 * threads + pairs - 1) / pairs;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int64_t packed = -1;
        Desk *desk = room(sizeof(Desk) + (up(keys, WIDTH) * channels + keys * sizes.columns) * sizeof(float));
        failed = !desk;
        if (!failed) desk->keys = (float *)(desk + 1), desk->values = desk->keys + up(keys, WIDTH) * channels;
#pragma omp for schedule(static)
        for (int64_t item = 0; item < pairs * parts; item++) {
            if (failed) continue;
            const int64_t pair = item / parts, part = item % parts, b = pair / heads, h = pair % heads;
            if (pair != packed) {
                pack_keys(key.data + b * key.by.batch + h * key.by.head, key.by.row, &sizes, desk->keys);
                pack_values(value.data + b * value.by.batch + h * value.by.head, value.by.row, &sizes, desk);
                packed = pair;
            }
            for (int64_t block = part * blocks / parts; block < (part + 1) * blocks / parts; block++) {
                const int64_t first = block * queries / blocks, count = (block + 1) * queries / blocks - first;
                const float *from = query.data + b * query.by.batch + h * query.by.head + first * query.by.row;
                take_queries(from, query.by.row, count, &sizes, scale, desk);
                attend_block(desk, &sizes, count, to + b * to_by.batch + h * to_by.head + first * to_by.row, to_by.row);
            }
        }
    }
    return !failed;
}
