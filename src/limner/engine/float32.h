/* As many float32s at once as the processor has in a register, and a block of sums of products, of which the kernels
   for float32 are made. Written with the compiler's own vectors, so that AVX2 and AVX-512 differ by a few lines.
   Weights may have come in half precision; they stay in it, and are widened when they are used. */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
enum { LANES = 16, ROWS = 12 };
#define OF_HALVES(from) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(from)))
#define LARGER(one, other) _mm512_max_ps(one, other)
#define MORE_ROWS OF(7) OF(8) OF(9) OF(10) OF(11) OF(12)
#else
enum { LANES = 8, ROWS = 6 };
#define OF_HALVES(from) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from)))
#define LARGER(one, other) _mm256_max_ps(one, other)
#define MORE_ROWS
#endif
enum { WIDTH = 2 * LANES }; /* columns whose sums, of ROWS rows, fill the registers */
#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));
typedef struct {
    const float *first;
    int64_t count, row; /* how many, and from one to the next */
} Rows;
typedef struct { /* WIDTH together, or LANES where those are `few`; behind them those that follow */
    const float *first;
    int64_t length;
    int few;
} Columns;
typedef struct {
    float *first;
    int64_t row;
} Sums;

enum { FLOAT32, BFLOAT16, FLOAT16 }; /* as kernels.py numbers what weights may be */
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef struct {
    const void *first;
    int64_t kind;
} Weights;

static inline int64_t up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

INLINE lanes load(const float *from) { return *(const anywhere *)from; }
INLINE void store(lanes x, float *to) { *(anywhere *)to = x; }
INLINE lanes all(float x) { return x - (lanes){}; }
INLINE lanes choose(bits yes, lanes one, lanes other) { return (lanes)((yes & (bits)one) | (~yes & (bits)other)); }

/* The other where either is no number. */
INLINE lanes larger(lanes one, lanes other) { return (lanes)LARGER(one, other); }

INLINE float sum(lanes x) {
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += x[lane];
    return total;
}

INLINE lanes of_bfloat16(const uint16_t *from) {
    return (lanes)(__builtin_convertvector(*(const halves *)from, bits) << 16);
}

/* `count` of them, a multiple of LANES, from `first` on: where they are, or in `room`. */
static inline const float *widened(Weights weights, int64_t first, int64_t count, float *room) {
    const uint16_t *from = (const uint16_t *)weights.first + first;
    if (weights.kind == FLOAT32) return (const float *)weights.first + first;
    for (int64_t at = 0; at < count; at += LANES)
        store(weights.kind == FLOAT16 ? (lanes)OF_HALVES(from + at) : of_bfloat16(from + at), room + at);
    return room;
}

/* e^x within 2e-7 of it, from x = -87 on (Cody and Waite 1980; the polynomial of Moshier's Cephes); below, that of -87.
   What is no number stays none. */
INLINE lanes exponential(lanes x) {
    const lanes least = all(-87), turn = all(12582912); /* to which adding rounds to a whole number */
    x = larger(least, x);
    const lanes turned = x * 1.44269504f + turn, whole = turned - turn;
    const lanes part = x - whole * .693359375f + whole * 2.12194440e-4f;
    lanes power = part * 1.9875691500e-4f + 1.3981999507e-3f;
    power = power * part + 8.3334519073e-3f;
    power = power * part + 4.1665795894e-2f;
    power = power * part + 1.6666665459e-1f;
    power = power * part + 5.0000001201e-1f;
    power = power * part * part + part + 1;
    return power * (lanes)(((bits)turned + 127) << 23);
}

/* Some rows, as many as the compiler knows of: so their sums are in registers. */
INLINE void multiply_rows(Rows rows, const int count, Columns columns, const int few, int more, Sums to) {
    lanes near[ROWS] = {}, far[ROWS] = {};
    if (more)
#pragma GCC unroll 12
        for (int row = 0; row < count; row++) {
            near[row] = load(to.first + row * to.row);
            if (!few) far[row] = load(to.first + row * to.row + LANES);
        }
#pragma GCC unroll 2
    for (int64_t at = 0; at < columns.length; at++) {
        const float *there = columns.first + at * (few ? LANES : WIDTH);
        const lanes one = load(there), other = few ? (lanes){} : load(there + LANES);
#pragma GCC unroll 12
        for (int row = 0; row < count; row++) {
            const float each = rows.first[row * rows.row + at];
            near[row] += each * one;
            if (!few) far[row] += each * other;
        }
    }
#pragma GCC unroll 12
    for (int row = 0; row < count; row++) {
        store(near[row], to.first + row * to.row);
        if (!few) store(far[row], to.first + row * to.row + LANES);
    }
}

/* The products of rows with columns: the sums, or what is added to them where there were `more`. Rows go in even groups
   of at most ROWS. */
static void multiply(Rows rows, Columns columns, int more, Sums to) {
    const int64_t groups = (rows.count + ROWS - 1) / ROWS;
    for (int64_t group = 0; group < groups; group++) {
        const int64_t first = group * rows.count / groups, count = (group + 1) * rows.count / groups - first;
        const Rows some = {rows.first + first * rows.row, count, rows.row};
        const Sums there = {to.first + first * to.row, to.row};
        switch (columns.few ? -count : count) {
#define OF(count)                                                                                                      \
    case count: multiply_rows(some, count, columns, 0, more, there); break;                                            \
    case -count: multiply_rows(some, count, columns, 1, more, there); break;
            OF(1) OF(2) OF(3) OF(4) OF(5) OF(6) MORE_ROWS
        }
    }
}
