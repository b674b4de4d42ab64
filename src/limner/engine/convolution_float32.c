/* Convolutions of 3 x 3 in float32 by a quarter of the multiplications (Lavin and Gray 2015, F(4 x 4, 3 x 3)): a spot
   of 4 x 4 results comes from 6 x 6 inputs. Seen from the points 0, 1, -1, 2, -2 and infinity, each of its 36 numbers
   is an input's number times a weight's, summed over channels.

   As many spots are seen as stay in the cache that threads share. Each thread then makes 32 results of some of them,
   64 channels at a time. It sees the weights for that anew: a tenth of the time, where keeping what is seen would take
   four times the memory. Of a map whose sides are doubled, by each place four times, 25 points remain.

   Maps are (B, h, w, C), channels multiples of LANES and results of 32. */

#include "float32.h"

typedef float number;
enum { RESULTS = 4 };
#include "convolution.h"
#include "room.h"
#include <omp.h>

enum { OUTS = 32, PANEL = 16, LENGTH = 9 * PANEL }; /* results of a thread; that lie together; their weights */
enum { CHANNELS = 64, SPOTS = 96 };   /* at once, at most: weights and sums of so many stay in a core's own cache */
enum { SEEN = 1 << 20, FEWEST = 48 }; /* numbers, of all threads; spots for which there is room even if that is more */
enum { ASIDE = 16 };                  /* between points: so that they lie in other sets of the cache */
enum { WEIGHTS = CHANNELS * OUTS + ASIDE, SUMS = SPOTS * OUTS }; /* of a point */

typedef struct { /* of all threads */
    const float *x, *bias, *plus;
    Weights weights;
    float *seen, *to;     /* of each some channels, point and spot */
    int64_t first, spots; /* that are seen now */
} Work;
typedef struct { float *weights, *sums, *zeros; } Desk; /* one thread's: of each point; of a place outside */
typedef struct { int64_t number, first, count; } Some;  /* of the channels */

/* The channels are parts as even as LANES allow. */
static int64_t parts(const Sizes *sizes) { return (sizes->channels + CHANNELS - 1) / CHANNELS; }

static Some some_of(const Sizes *sizes, int64_t part) {
    const int64_t all = sizes->channels / LANES, first = part * all / parts(sizes) * LANES;
    return (Some){part, first, (part + 1) * all / parts(sizes) * LANES - first};
}

/* What is seen from a point of the first spot. */
static float *seen_from(const Work *work, Some some, int point) {
    const int64_t before = POINTS * (some.first * work->spots + some.number * ASIDE);
    return work->seen + before + point * (some.count * work->spots + ASIDE);
}

INLINE void see_line(const lanes x[INPUTS], lanes to[INPUTS]) {
    const lanes even = x[4] - 4 * x[2], odd = x[3] - 4 * x[1], near = x[4] - x[2], far = 2 * (x[3] - x[1]);
    to[0] = 4 * x[0] - 5 * x[2] + x[4];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = near + far;
    to[4] = near - far;
    to[5] = 4 * x[1] - 5 * x[3] + x[5];
}

INLINE void weigh_line(const lanes x[TAPS], lanes to[INPUTS]) {
    const lanes ends = (x[0] + x[2]) * (-1 / 6.f), middle = x[1] * (1 / 6.f);
    const lanes far = x[0] * (1 / 24.f) + x[2] * (1 / 6.f), half = x[1] * (1 / 12.f);
    to[0] = x[0] * .25f;
    to[1] = ends - middle;
    to[2] = ends + middle;
    to[3] = far + half;
    to[4] = far - half;
    to[5] = x[2];
}

INLINE void give_line(const lanes x[INPUTS], lanes to[RESULTS]) {
    const lanes near = x[1] + x[2], turn = x[1] - x[2], far = x[3] + x[4], back = x[3] - x[4];
    to[0] = x[0] + near + far;
    to[1] = turn + 2 * back;
    to[2] = near + 4 * far;
    to[3] = turn + 8 * back + x[5];
}

/* The inputs of a spot, the one numbered `at` of those that are seen. */
static void see(const Work *work, const Sizes *sizes, const float *zeros, int64_t at) {
    const float *from[POINTS];
    places_of(work->x, sizes, spot_at(work->first + at, sizes), zeros, from);
    for (int64_t part = 0; part < parts(sizes); part++) {
        const Some some = some_of(sizes, part);
        float *to = seen_from(work, some, 0) + at * some.count;
        const int64_t next = seen_from(work, some, 1) - seen_from(work, some, 0);
        for (int64_t channel = 0; channel < some.count; channel += LANES) {
            lanes line[INPUTS], made[INPUTS], half[INPUTS][INPUTS];
            for (int column = 0; column < INPUTS; column++) {
                for (int row = 0; row < INPUTS; row++)
                    line[row] = load(from[INPUTS * row + column] + some.first + channel);
                see_line(line, made);
                for (int row = 0; row < INPUTS; row++) half[row][column] = made[row];
            }
            for (int row = 0; row < INPUTS; row++) {
                see_line(half[row], made);
                for (int column = 0; column < INPUTS; column++)
                    store(made[column], to + (INPUTS * row + column) * next + channel);
            }
        }
    }
}

/* The weights of 32 results from `first` on, and some channels: WIDTH of each channel, then WIDTH of the next. */
static void weigh(Weights weights, int64_t first, const Sizes *sizes, Some some, float *to) {
    for (int64_t out = 0; out < OUTS; out += PANEL)
        for (int64_t channel = 0; channel < some.count; channel++) {
            const int64_t panel = (first + out) / PANEL * sizes->channels + some.first + channel;
            float wider[LENGTH];
            const float *from = widened(weights, panel * LENGTH, LENGTH, wider);
            for (int64_t at = out; at < out + PANEL; at += LANES) {
                float *here = to + at / WIDTH * WIDTH * CHANNELS + channel * WIDTH + at % WIDTH;
                lanes line[TAPS], made[INPUTS], half[INPUTS][TAPS];
                for (int column = 0; column < TAPS; column++) {
                    for (int row = 0; row < TAPS; row++)
                        line[row] = load(from + (TAPS * row + column) * PANEL + at - out);
                    weigh_line(line, made);
                    for (int row = 0; row < INPUTS; row++) half[row][column] = made[row];
                }
                for (int row = 0; row < INPUTS; row++) {
                    weigh_line(half[row], made);
                    for (int column = 0; column < INPUTS; column++)
                        store(made[column], here + (INPUTS * row + column) * WEIGHTS);
                }
            }
        }
}

/* 32 results from `out` on of a spot, from the sums of its points. */
static void give(const Work *work, const Sizes *sizes, Spot spot, const float *sums, int64_t out) {
    for (int64_t some = 0; some < OUTS; some += LANES) {
        const lanes bias = load(work->bias + spot.image * sizes->biases + out + some);
        lanes line[INPUTS], made[RESULTS], half[RESULTS][INPUTS];
        for (int column = 0; column < INPUTS; column++) {
            for (int row = 0; row < INPUTS; row++) {
                const int point = INPUTS * row + column;
                line[row] = blind(sizes->doubled, point) ? (lanes){} : load(sums + point * SUMS + some);
            }
            give_line(line, made);
            for (int row = 0; row < RESULTS; row++) half[row][column] = made[row];
        }
        for (int row = 0; row < RESULTS; row++) {
            give_line(half[row], made);
            for (int column = 0; column < RESULTS; column++) {
                const int64_t first = result_of(sizes, spot, RESULTS * row + column), here = first + out + some;
                if (first < 0) continue;
                store(made[column] + bias + (work->plus ? load(work->plus + here) : (lanes){}), work->to + here);
            }
        }
    }
}

/* 32 results from `out` on of the spots that are seen now, `first` to `last`. */
static void convolve_some(const Work *work, const Sizes *sizes, Desk desk, int64_t out, int64_t first, int64_t last) {
    for (int64_t part = 0; part < parts(sizes); part++) {
        const Some some = some_of(sizes, part);
        weigh(work->weights, out, sizes, some, desk.weights);
        for (int point = 0; point < POINTS; point++)
            for (int side = 0; side < OUTS && !blind(sizes->doubled, point); side += WIDTH) {
                const Rows rows = {seen_from(work, some, point) + first * some.count, last - first, some.count};
                const Columns columns = {desk.weights + point * WEIGHTS + side * CHANNELS, some.count, 0};
                multiply(rows, columns, part > 0, (Sums){desk.sums + point * SUMS + side, OUTS});
            }
    }
    for (int64_t at = first; at < last; at++)
        give(work, sizes, spot_at(work->first + at, sizes), desk.sums + (at - first) * OUTS, out);
}

/* Whether there was memory for it. Weights are as `order` makes them. */
int convolve(const float *x, const void *weights, const float *bias, const float *plus, float *to, Sizes sizes,
             int threads) {
    const int64_t spots = all_spots(&sizes), room_for = up(SEEN / POINTS / sizes.channels, FEWEST);
    const int64_t fit = room_for < spots ? room_for : spots;
    const int64_t seen = up(POINTS * (fit * sizes.channels + parts(&sizes) * ASIDE), PANEL);
    const int64_t needed = POINTS * (WEIGHTS + SUMS) + sizes.channels;
    float *shared = room((seen + needed) * sizeof(float));
    int failed = !shared;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *own = omp_get_thread_num() ? room(needed * sizeof(float)) : shared + seen;
        const Desk desk = {own, own + POINTS * WEIGHTS, own + POINTS * (WEIGHTS + SUMS)};
        failed = failed || !own;
        if (!failed) memset(desk.zeros, 0, sizes.channels * sizeof(float));
        for (int64_t first = 0; first < spots; first += fit) {
            const int64_t count = spots - first < fit ? spots - first : fit, blocks = (count + SPOTS - 1) / SPOTS;
            const Work work = {x, bias, plus, {weights, sizes.kind}, shared, to, first, count};
#pragma omp for schedule(static)
            for (int64_t at = 0; at < count; at++)
                if (!failed) see(&work, &sizes, desk.zeros, at);
#pragma omp for schedule(dynamic, 1) collapse(2)
            for (int64_t block = 0; block < blocks; block++)
                for (int64_t out = 0; out < sizes.outs; out += OUTS)
                    if (!failed)
                        convolve_some(&work, &sizes, desk, out, block * count / blocks, (block + 1) * count / blocks);
        }
    }
    return !failed;
}

#define ORDER(type)                                                                                                    \
    static void order_##type(const type *weights, type *to, int64_t channels, int64_t panel) {                         \
        const int64_t each = channels * TAPS * TAPS;                                                                   \
        for (int64_t out = panel * PANEL; out < (panel + 1) * PANEL; out++)                                            \
            for (int64_t tap = 0; tap < each; tap++)                                                                   \
                to[(panel * each + tap) * PANEL + out % PANEL] = weights[out * each + tap];                            \
    }
ORDER(uint16_t)
ORDER(uint32_t)

/* Kernels (outs, channels, 3, 3), of numbers of so many `bytes`, to (outs / 16, channels, 9, 16): for a map that is
   `doubled` no others. */
void order(const void *weights, void *to, int64_t outs, int64_t channels, int64_t doubled, int64_t bytes, int threads) {
    (void)doubled;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t panel = 0; panel < outs / PANEL; panel++)
        if (bytes == sizeof(uint16_t))
            order_uint16_t(weights, to, channels, panel);
        else
            order_uint32_t(weights, to, channels, panel);
}
