/* Convolutions of 3 x 3 in bfloat16 by 4 / 9 of the multiplications (Lavin and Gray 2015, F(2 x 2, 3 x 3)): a spot of
   2 x 2 results comes from 4 x 4 inputs. Seen from the points 0, 1, -1 and infinity, each of its 16 numbers is an
   input's number times a weight's, summed over channels.

   A block of spots is seen, multiplied and given while its numbers are in the cache, so that weights are read once for
   each block. Multiplications are what there is least of: without AMX, or where other virtual machines share it.

   Of a map whose sides are doubled, by each place four times, a spot sees places a, b, b, c in a line: from the point
   -1 there is nothing to see, and 9 points remain.

   Maps are (B, h, w, C), channels and results multiples of 32. Lengths are in elements. Channels follow the even ones
   of each 32, then the odd ones: that is how they come out of bfloat16 most easily. */

#include "room.h"
#include "square.h"

typedef bf16 number;
enum { RESULTS = 2 };
#include "convolution.h"

enum { SPOTS = 8 * SIDE, FEW_SPOTS = 4 * SIDE, OUTS = 320 }; /* of a block; of one with few results; the most results */
enum { FEW_OUTS = 128 };                                     /* few weights: reading them more often costs little */
enum { AHEAD = 8, MANY = 640 * 640 }; /* tiles of weights that are fetched before they are used, of layers with more */

typedef struct { /* one thread's */
    factor *seen; /* of each point, band and 32 channels a tile of spots by channels */
    float *sums;  /* of each point, spot and result */
    bf16 *zeros;  /* of a place outside */
    int64_t spots;
} Desk;

static inline void see_line(const __m512 from[INPUTS], __m512 to[INPUTS]) {
    to[0] = _mm512_sub_ps(from[0], from[2]);
    to[1] = _mm512_add_ps(from[1], from[2]);
    to[2] = _mm512_sub_ps(from[2], from[1]);
    to[3] = _mm512_sub_ps(from[1], from[3]);
}

static inline void see_square(const __m512 from[POINTS], __m512 to[POINTS]) {
    __m512 half[POINTS];
    for (int column = 0; column < INPUTS; column++) {
        const __m512 line[INPUTS] = {from[column], from[4 + column], from[8 + column], from[12 + column]};
        __m512 made[INPUTS];
        see_line(line, made);
        for (int row = 0; row < INPUTS; row++) half[INPUTS * row + column] = made[row];
    }
    for (int row = 0; row < INPUTS; row++) see_line(half + INPUTS * row, to + INPUTS * row);
}

/* The inputs of a spot, seen from the 16 points, as the row `at` of their tiles. */
static void see(const bf16 *x, const Sizes *sizes, Spot spot, Desk *desk, int64_t at) {
    const bf16 *from[POINTS];
    places_of(x, sizes, spot, desk->zeros, from);
    factor *to = desk->seen + at / SIDE * SIDE * sizes->channels + at % SIDE * STEP;
    for (int64_t channel = 0; channel < sizes->channels; channel += STEP, to += TILE) {
        __m512i both[POINTS];
        __m512 half[POINTS], even[POINTS], odd[POINTS];
        for (int place = 0; place < POINTS; place++) both[place] = _mm512_loadu_si512(from[place] + channel);
        for (int place = 0; place < POINTS; place++) half[place] = (__m512)_mm512_slli_epi32(both[place], 16);
        see_square(half, even);
        for (int place = 0; place < POINTS; place++)
            half[place] = (__m512)_mm512_and_si512(both[place], _mm512_set1_epi32((int)0xffff0000));
        see_square(half, odd);
        for (int point = 0; point < POINTS; point++) {
            const __m512i seen = factors_of(shrink(even[point]), shrink(odd[point]));
            _mm512_store_si512(to + point * desk->spots * sizes->channels, seen);
        }
    }
}

/* What a block is seen as from one point, times the weights of `outs` results there. */
static void multiply_point(const factor *seen, const factor *weights, int64_t channels, int64_t outs, int64_t spots,
                           int fetched, float *sums) {
    const int64_t panel = channels * SIDE; /* of 16 spots, or of 16 results */
    for (int64_t band = 0; band < spots / SIDE; band += 2)
        for (int64_t out = 0; out < outs; out += 2 * SIDE) {
            const Rows rows = {seen + band * panel, seen + (band + 1) * panel, STEP, TILE};
            const Columns columns = {weights + out * channels, weights + out * channels + panel, TILE, 1};
            const Ahead ahead = {columns.near + AHEAD * TILE, columns.far + AHEAD * TILE, STEP, TILE, 0, 1};
            const Sums to = {sums + band * SIDE * outs + out, outs, SIDE, SIDE * outs};
            if (fetched)
                multiply(rows, columns, channels / 2, 1, to, ahead);
            else
                multiply(rows, columns, channels / 2, 1, to, NOTHING);
        }
}

static inline void give_line(const __m512 from[INPUTS], __m512 to[RESULTS]) {
    to[0] = _mm512_add_ps(_mm512_add_ps(from[0], from[1]), from[2]);
    to[1] = _mm512_sub_ps(_mm512_sub_ps(from[1], from[2]), from[3]);
}

/* 2 x 2 places of 16 results from the sums of the 16 points. */
static inline void give_square(const float *sums, int64_t each, const Sizes *sizes, __m512 more,
                               __m512 to[RESULTS * RESULTS]) {
    __m512 half[RESULTS][INPUTS];
    for (int column = 0; column < INPUTS; column++) {
        __m512 line[INPUTS], made[RESULTS];
        for (int row = 0; row < INPUTS; row++) {
            const int point = INPUTS * row + column;
            line[row] = blind(sizes->doubled, point) ? _mm512_setzero_ps() : _mm512_load_ps(sums + point * each);
        }
        give_line(line, made);
        half[0][column] = made[0], half[1][column] = made[1];
    }
    for (int row = 0; row < RESULTS; row++) give_line(half[row], to + RESULTS * row);
    for (int place = 0; place < RESULTS * RESULTS; place++) to[place] = _mm512_add_ps(to[place], more);
}

/* The results `first` on of a spot, the row `at` of the sums; `plus`, where there is one, is added. */
static void give(const Desk *desk, const Sizes *sizes, Spot spot, int64_t at, int64_t first, int64_t outs,
                 const float *bias, const bf16 *plus, bf16 *to) {
    for (int64_t out = 0; out < outs && spot.image < sizes->batch; out += STEP) {
        __m512 made[2][RESULTS * RESULTS];
        for (int half = 0; half < 2; half++) {
            const int64_t some = out + half * SIDE;
            const __m512 more = _mm512_loadu_ps(bias + spot.image * sizes->biases + first + some);
            give_square(desk->sums + at * outs + some, desk->spots * outs, sizes, more, made[half]);
        }
        for (int place = 0; place < RESULTS * RESULTS; place++) {
            const int64_t first_there = result_of(sizes, spot, place), here = first_there + first + out;
            if (first_there < 0) continue;
            __m512 one = made[0][place], two = made[1][place];
            if (plus) one = _mm512_add_ps(one, wide(plus + here)), two = _mm512_add_ps(two, wide(plus + here + SIDE));
            _mm512_storeu_si512(to + here, (__m512i)_mm512_cvtne2ps_pbh(two, one));
        }
    }
}

static void convolve_block(const bf16 *x, const factor *weights, const float *bias, const bf16 *plus, bf16 *to,
                           const Sizes *sizes, Desk *desk, int64_t begin, int64_t from, int64_t until) {
    for (int64_t at = 0; at < desk->spots; at++) see(x, sizes, spot_at(begin + at, sizes), desk, at);
    for (int64_t first = from; first < until; first += OUTS) {
        const int64_t outs = until - first < OUTS ? until - first : OUTS;
        const factor *weights_there = weights + first * sizes->channels;
        for (int point = 0; point < POINTS; point++) {
            if (blind(sizes->doubled, point)) continue;
            multiply_point(desk->seen + point * desk->spots * sizes->channels, weights_there, sizes->channels, outs,
                           desk->spots, sizes->channels * sizes->outs > MANY, desk->sums + point * desk->spots * outs);
            weights_there += sizes->outs * sizes->channels;
        }
        for (int64_t at = 0; at < desk->spots; at++)
            give(desk, sizes, spot_at(begin + at, sizes), at, first, outs, bias, plus, to);
    }
}

/* How a layer is cut: blocks of spots, and, where these are fewer than threads, the results of each in parts. */
typedef struct {
    int64_t spots, blocks; /* of a block, and how many */
    int64_t parts, outs;   /* of a block's results, and how many each has */
    int64_t longest;       /* spots by results of the thread that has most of them */
} Cut;

static Cut cut_into(int64_t most, const Sizes *sizes, int threads) {
    const int64_t all = all_spots(sizes), filled = up(all, 2 * SIDE), spots = most < filled ? most : filled;
    const int64_t blocks = up(all, spots) / spots, parts = (threads + blocks - 1) / blocks;
    const int64_t outs = up((sizes->outs + parts - 1) / parts, STEP), rounds = (blocks * parts + threads - 1) / threads;
    return (Cut){spots, blocks, parts, outs, rounds * spots * outs};
}

/* Into blocks of about as many spots as are usual, so that threads end together: 24 x 24 of two images are 288 spots,
   and of three blocks of 128 one of two threads would have two. */
static Cut cut(const Sizes *sizes, int threads) {
    const int64_t usual = sizes->outs <= FEW_OUTS ? FEW_SPOTS : SPOTS;
    const Cut more = cut_into(usual + 2 * SIDE, sizes, threads), less = cut_into(usual - 2 * SIDE, sizes, threads);
    Cut best = cut_into(usual, sizes, threads);
    if (more.longest < best.longest) best = more;
    if (less.longest < best.longest) best = less;
    return best;
}

/* Whether there was memory for it. Weights are as `order` makes them. */
int convolve(const bf16 *x, const factor *weights, const float *bias, const bf16 *plus, bf16 *to, Sizes sizes,
             int threads) {
    const Cut by = cut(&sizes, threads);
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        const int64_t seen = POINTS * by.spots * sizes.channels * sizeof(factor), row = sizes.channels * sizeof(bf16);
        const int64_t sums = POINTS * by.spots * OUTS * sizeof(float);
        char *memory = room(seen + sums + row);
        Desk desk = {(factor *)memory, (float *)(memory + seen), (bf16 *)(memory + seen + sums), by.spots};
        failed = !memory;
        if (!failed) {
            memset(desk.zeros, 0, row);
            begin();
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < by.blocks * by.parts; item++) {
            const int64_t from = item % by.parts * by.outs, last = from + by.outs;
            const int64_t until = last < sizes.outs ? last : sizes.outs, first = item / by.parts * by.spots;
            if (failed || from >= until) continue;
            convolve_block(x, weights, bias, plus, to, &sizes, &desk, first, from, until);
        }
        if (!failed) end();
    }
    return !failed;
}

static inline void weigh_line(const __m512 from[TAPS], __m512 to[INPUTS]) {
    const __m512 half = _mm512_set1_ps(0.5f), ends = _mm512_add_ps(from[0], from[2]);
    to[0] = from[0];
    to[1] = _mm512_mul_ps(half, _mm512_add_ps(ends, from[1]));
    to[2] = _mm512_mul_ps(half, _mm512_sub_ps(ends, from[1]));
    to[3] = from[2];
}

/* 16 kernels as the points see them. */
static inline void weigh_square(const float from[TAPS * TAPS][STEP], int first, __m512 to[POINTS]) {
    __m512 half[INPUTS][TAPS];
    for (int column = 0; column < TAPS; column++) {
        __m512 line[TAPS], made[INPUTS];
        for (int row = 0; row < TAPS; row++) line[row] = _mm512_load_ps(from[TAPS * row + column] + first);
        weigh_line(line, made);
        for (int row = 0; row < INPUTS; row++) half[row][column] = made[row];
    }
    for (int row = 0; row < INPUTS; row++) weigh_line(half[row], to + INPUTS * row);
}

/* The tiles of 16 results by 32 channels, one for each point, `apart` from another. */
static void order_tile(const bf16 *weights, int64_t channels, int64_t doubled, int64_t apart, factor *to) {
    ALIGNED __m512i pairs[POINTS][SIDE]; /* of channels, for each result */
    for (int out = 0; out < SIDE; out++) {
        ALIGNED float taps[TAPS * TAPS][STEP];
        for (int at = 0; at < STEP; at++) {
            const int channel = at / 2 % 8 * 4 + at % 2 * 2 + at / SIDE;
            const bf16 *kernel = weights + (out * channels + channel) * TAPS * TAPS;
            for (int tap = 0; tap < TAPS * TAPS; tap++) {
                const uint32_t bits = (uint32_t)kernel[tap] << 16;
                memcpy(&taps[tap][at], &bits, sizeof bits);
            }
        }
        __m512 near[POINTS], far[POINTS];
        weigh_square(taps, 0, near);
        weigh_square(taps, SIDE, far);
        for (int point = 0; point < POINTS; point++)
            pairs[point][out] = factors_of(near[point], far[point]);
    }
    for (int point = 0; point < POINTS; point++) {
        if (blind(doubled, point)) continue;
        transpose(pairs[point]);
        for (int pair = 0; pair < SIDE; pair++) _mm512_store_si512(to + pair * STEP, pairs[point][pair]);
        to += apart;
    }
}

/* Kernels (outs, channels, 3, 3) to tiles of 16 results by 32 channels, pairs of channels down and results across; over
   channels, then results, then points from which something is seen. */
void order(const bf16 *weights, factor *to, int64_t outs, int64_t channels, int64_t doubled, int64_t bytes,
           int threads) {
    (void)bytes;
    const int64_t steps = channels / STEP;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t tile = 0; tile < outs / SIDE * steps; tile++) {
        const bf16 *from = weights + (tile / steps * SIDE * channels + tile % steps * STEP) * TAPS * TAPS;
        order_tile(from, channels, doubled, outs * channels, to + tile * TILE);
    }
}
