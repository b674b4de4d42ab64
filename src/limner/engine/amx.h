/* What the kernels share: tiles of AMX, of 16 rows by 64 bytes, that is of 32 bfloat16s or 16 float32s, and numbers. */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIDE = 16, STEP = 32, TILE = SIDE * STEP }; /* rows of a tile, bfloat16s in one of them, and in all */
enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of arch_prctl */
#define ALIGNED __attribute__((aligned(64)))

typedef uint16_t bf16;

static inline int64_t up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

/* Eight tiles of full size, as LDTILECFG reads it. */
static const struct { uint8_t palette, start, none[14]; uint16_t bytes[16]; uint8_t rows[16]; } TILES = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/* Compilers do not know that tiles read memory: what was written before is written. */
static inline void written(void) { __asm__ volatile("" ::: "memory"); }

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

/* Whether the system lets this process use the tiles. */
int permitted(void) { return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0; }
