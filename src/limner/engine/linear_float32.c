/* x W^T + bias in float32, and what is done with it while it is near: the sum with another map, or the product of one
   half with the GELU of the other (Shazeer 2020, GEGLU).

   A block of rows meets the weights of 32 results at a time, 256 channels of them in the first cache; its own stay in
   the second. Results are multiples of 32, and channels of LANES. Lengths are in numbers. */

#include "float32.h"
#include "room.h"

typedef float number;
typedef void weight;
#include "linear.h"

enum { OUTS = 32, CHANNELS = 256, BLOCK = 32 * ROWS }; /* results and channels at once; rows at most */

typedef struct { float sums[BLOCK * OUTS], weights[CHANNELS * WIDTH], line[CHANNELS]; } Desk; /* one thread's */

/* Where the weights lie of the result that comes as number `out`. */
static int64_t line_of(const Layer *layer, int64_t out) {
    return (sixteen(layer, out / SIXTEEN) + out % SIXTEEN) * layer->channels;
}

/* The weights of WIDTH results and `count` channels, each channel's together. */
static const float *weights_of(const Work *work, Desk *desk, int64_t out, int64_t first, int64_t count) {
    const Weights weights = {work->weights, work->kind};
    const int64_t tile = out * work->layer.channels + first * WIDTH;
    if (work->ordered) return widened(weights, tile, count * WIDTH, desk->weights);
    for (int64_t at = 0; at < WIDTH; at++) {
        const float *line = widened(weights, line_of(&work->layer, out + at) + first, count, desk->line);
        for (int64_t channel = 0; channel < count; channel++) desk->weights[channel * WIDTH + at] = line[channel];
    }
    return desk->weights;
}

/* Sums of a block's rows, by 32 results from `out` on. */
static void multiply_block(const Work *work, Desk *desk, int64_t first, int64_t count, int64_t out) {
    const int64_t channels = work->layer.channels;
    for (int64_t begin = 0; begin < channels; begin += CHANNELS)
        for (int64_t side = 0; side < OUTS; side += WIDTH) {
            const int64_t length = channels - begin < CHANNELS ? channels - begin : CHANNELS;
            const Columns columns = {weights_of(work, desk, out + side, begin, length), length, 0};
            const Rows rows = {work->x + first * channels + begin, count, channels};
            multiply(rows, columns, begin > 0, (Sums){desk->sums + side, OUTS});
        }
}

/* x times the probability that a normal number is below x; the tail by Abramowitz and Stegun 7.1.26. */
INLINE lanes gelu(lanes x) {
    const lanes size = choose(x < 0, -x, x), near = 1 / (size * .23164188f + 1);
    lanes tail = near * .53070271f - .72657601f;
    tail = tail * near + .71070687f;
    tail = tail * near - .14224837f;
    tail = tail * near + .12741480f;
    tail = tail * near * exponential(x * x * -.5f);
    return x * choose(x > 0, 1 - tail, tail);
}

INLINE lanes biased(const Work *work, const float *sums, int64_t result) {
    return work->bias ? load(sums) + load(work->bias + result) : load(sums);
}

/* 32 results from `out` on of a row, or 16 that are gated. */
static void give(const Work *work, const float *sums, int64_t row, int64_t out) {
    const int64_t half = work->layer.outs / 2, here = row * work->layer.outs + out;
    for (int64_t at = 0; at < SIXTEEN && work->layer.gated; at += LANES) {
        const int64_t result = out / 2 + at;
        const lanes value = biased(work, sums + at, result), gate = biased(work, sums + SIXTEEN + at, half + result);
        store(value * gelu(gate), work->to + row * half + result);
    }
    for (int64_t at = 0; at < OUTS && !work->layer.gated; at += LANES) {
        const lanes made = biased(work, sums + at, out + at);
        store(work->plus ? made + load(work->plus + here + at) : made, work->to + here + at);
    }
}

/* Whether there was memory for it. Where there are few blocks, threads share the results of one. */
int linear(Work work, int threads) {
    const int64_t blocks = (work.rows + BLOCK - 1) / BLOCK, parts = blocks < 4 * threads ? threads : 1;
    const int64_t outs = work.layer.outs / OUTS;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        Desk *desk = room(sizeof(Desk));
        failed = !desk;
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < blocks * parts; item++) {
            const int64_t block = item / parts, part = item % parts;
            const int64_t first = block * work.rows / blocks, count = (block + 1) * work.rows / blocks - first;
            const int64_t begin = part * outs / parts * OUTS, end = (part + 1) * outs / parts * OUTS;
            for (int64_t out = begin; out < end && !failed; out += OUTS) {
                multiply_block(&work, desk, first, count, out);
                for (int64_t row = 0; row < count; row++) give(&work, desk->sums + row * OUTS, first + row, out);
            }
        }
    }
    return !failed;
}

#define ORDER(type)                                                                                                    \
    static void order_##type(const type *weights, type *to, const Layer *layer, int64_t out) {                         \
        for (int64_t at = out; at < out + WIDTH; at++)                                                                 \
            for (int64_t channel = 0; channel < layer->channels; channel++)                                            \
                to[out * layer->channels + channel * WIDTH + at - out] = weights[line_of(layer, at) + channel];        \
    }
ORDER(uint16_t)
ORDER(uint32_t)

/* Weights (outs, channels), of numbers of so many `bytes`, to (outs / WIDTH, channels, WIDTH), results as `sixteen`
   says. */
void order(const void *weights, void *to, Layer layer, int64_t bytes, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t out = 0; out < layer.outs; out += WIDTH)
        if (bytes == sizeof(uint16_t))
            order_uint16_t(weights, to, &layer, out);
        else
            order_uint32_t(weights, to, &layer, out);
}
