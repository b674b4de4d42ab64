/* Numbers in bfloat16, as the kernels take them, and what they do with sixteen at once. */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 16, STEP = 32, TILE = SIDE * STEP }; /* float32s at once, bfloat16s at once, and 16 rows of these */
#define ALIGNED __attribute__((aligned(64)))

typedef uint16_t bf16;

static inline int64_t up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

/* 2^x, within 1e-4 of it: far below what rounding to bfloat16 takes. */
static inline __m512 power_of_two(__m512 x) {
    const __m512 part = _mm512_reduce_ps(x, 0x09); /* x - floor(x) */
    __m512 power = _mm512_set1_ps(0.07802455f);
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.22606719f));
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.6958335f));
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.99992526f));
    return _mm512_scalef_ps(power, x);
}

static inline __m512 wide(const bf16 *from) {
    const __m256i half = _mm256_loadu_si256((const __m256i *)from);
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static inline void narrow(__m512 x, bf16 *to) { _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x)); }

/* 16 rows of 16 numbers of four bytes each, that is of pairs of bfloat16s. */
static inline void transpose(__m512i x[SIDE]) {
    __m512i two[SIDE], four[SIDE];
    for (int at = 0; at < SIDE; at += 2) {
        two[at] = _mm512_unpacklo_epi32(x[at], x[at + 1]);
        two[at + 1] = _mm512_unpackhi_epi32(x[at], x[at + 1]);
    }
    for (int at = 0; at < SIDE; at += 4)
        for (int high = 0; high < 2; high++) {
            four[at + 2 * high] = _mm512_unpacklo_epi64(two[at + high], two[at + high + 2]);
            four[at + 2 * high + 1] = _mm512_unpackhi_epi64(two[at + high], two[at + high + 2]);
        }
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
