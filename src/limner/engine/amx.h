/* What the kernels for AMX share: tiles of 16 rows by 64 bytes, that is of 32 bfloat16s or 16 float32s. */

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

/* Whether the system lets this process use the tiles. */
int permitted(void) { return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0; }
