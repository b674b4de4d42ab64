/* GroupNorm, with or without a SiLU behind it, and LayerNorm, of maps in bfloat16, in two passes over memory.

   A map is (B, N, C), N places of C channels, C a multiple of 16. torch takes one pass more for the SiLU, and for each
   several times as long: it goes through float32. */

#include "bfloat16.h"

enum { PART = 64 }; /* places that are summed in float32; sums of parts are in float64 */

typedef struct { int64_t batch, places, channels, groups; } Sizes;

static inline __m512 silu(__m512 x) {
    const __m512 power = power_of_two(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f)));
    return _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(power, _mm512_set1_ps(1.0f))));
}

/* Add to the sums of each channel, and of their squares, those of some places. */
static void add(const bf16 *x, int64_t places, int64_t channels, float *part, double *sums, double *squares) {
    float *square = part + channels;
    for (int64_t first = 0; first < places; first += PART) {
        const int64_t last = places - first < PART ? places : first + PART;
        memset(part, 0, 2 * channels * sizeof(float));
        for (int64_t place = first; place < last; place++)
            for (int64_t channel = 0; channel < channels; channel += SIDE) {
                const __m512 one = wide(x + place * channels + channel);
                _mm512_storeu_ps(part + channel, _mm512_add_ps(_mm512_loadu_ps(part + channel), one));
                _mm512_storeu_ps(square + channel, _mm512_fmadd_ps(one, one, _mm512_loadu_ps(square + channel)));
            }
        for (int64_t channel = 0; channel < channels; channel++)
            sums[channel] += part[channel], squares[channel] += square[channel];
    }
}

/* What each channel of an image is multiplied by, and what is added: from the sums of all parts of it. */
static void factors(const double *sums, int64_t parts, const Sizes *sizes, const float *weight, const float *bias,
                    float eps, float *by, float *more) {
    const int64_t channels = sizes->channels, each = channels / sizes->groups;
    for (int64_t group = 0; group < channels; group += each) {
        double sum = 0, square = 0;
        for (int64_t part = 0; part < parts; part++)
            for (int64_t channel = group; channel < group + each; channel++)
                sum += sums[2 * part * channels + channel], square += sums[(2 * part + 1) * channels + channel];
        const double mean = sum / (each * sizes->places), variance = square / (each * sizes->places) - mean * mean;
        const double scale = 1.0 / __builtin_sqrt((variance > 0 ? variance : 0 * variance) + eps);
        for (int64_t channel = group; channel < group + each; channel++) {
            by[channel] = weight[channel] * scale;
            more[channel] = bias[channel] - mean * scale * weight[channel];
        }
    }
}

/* The factors of each image, (batch, 2, channels); whether there was memory for it. */
int measure(const bf16 *x, const float *weight, const float *bias, float *to, Sizes sizes, float eps, int threads) {
    const int64_t parts = 2 * threads, each = (sizes.places + parts - 1) / parts, channels = sizes.channels;
    double *sums = calloc(2 * parts * sizes.batch * channels, sizeof(double));
    int failed = !sums;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *own = malloc(2 * channels * sizeof(float));
        failed = failed || !own;
#pragma omp for schedule(static)
        for (int64_t item = 0; item < sizes.batch * parts; item++) {
            const int64_t first = item % parts * each, left = sizes.places - first;
            double *to_sums = sums + 2 * item * channels;
            if (failed || left <= 0) continue;
            add(x + (item / parts * sizes.places + first) * channels, left < each ? left : each, channels, own, to_sums,
                to_sums + channels);
        }
        free(own);
    }
    for (int64_t image = 0; image < sizes.batch && !failed; image++)
        factors(sums + 2 * image * parts * channels, parts, &sizes, weight, bias, eps, to + 2 * image * channels,
                to + (2 * image + 1) * channels);
    free(sums);
    return !failed;
}

/* Each place by the factors of its image, and a SiLU if it is wanted. */
void apply(const bf16 *x, const float *factors, bf16 *to, Sizes sizes, int active, int threads) {
    const int64_t parts = 2 * threads, each = (sizes.places + parts - 1) / parts, channels = sizes.channels;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t item = 0; item < sizes.batch * parts; item++) {
        const int64_t image = item / parts, first = item % parts * each, last = first + each;
        const float *by = factors + 2 * image * channels, *more = by + channels;
        for (int64_t place = first; place < last && place < sizes.places; place++)
            for (int64_t channel = 0; channel < channels; channel += SIDE) {
                const int64_t at = (image * sizes.places + place) * channels + channel;
                const __m512 made =
                    _mm512_fmadd_ps(wide(x + at), _mm512_loadu_ps(by + channel), _mm512_loadu_ps(more + channel));
                narrow(active ? silu(made) : made, to + at);
            }
    }
}

/* Over the channels of each of `rows` places. */
void layer_norm(const bf16 *x, const float *weight, const float *bias, bf16 *to, int64_t rows, int64_t channels,
                float eps, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        const bf16 *from = x + row * channels;
        __m512 sum = _mm512_setzero_ps(), square = _mm512_setzero_ps();
        for (int64_t channel = 0; channel < channels; channel += SIDE) sum = _mm512_add_ps(sum, wide(from + channel));
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / channels);
        for (int64_t channel = 0; channel < channels; channel += SIDE) {
            const __m512 off = _mm512_sub_ps(wide(from + channel), mean);
            square = _mm512_fmadd_ps(off, off, square);
        }
        const __m512 scale = _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(square) / channels + eps));
        for (int64_t channel = 0; channel < channels; channel += SIDE) {
            const __m512 by = _mm512_mul_ps(scale, _mm512_loadu_ps(weight + channel));
            const __m512 off = _mm512_sub_ps(wide(from + channel), mean);
            narrow(_mm512_fmadd_ps(off, by, _mm512_loadu_ps(bias + channel)), to + row * channels + channel);
        }
    }
}
