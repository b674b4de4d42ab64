/* By the tiles of AMX: see square.h. Neighbours on other virtual machines may use the same unit. */

#include <sys/syscall.h>
#include <unistd.h>

#include "factors_bfloat16.h"

enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of arch_prctl */

/* Eight tiles of full size, as LDTILECFG reads it. */
static const struct { uint8_t palette, start, none[14]; uint16_t bytes[16]; uint8_t rows[16]; } TILES = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

int permitted(void) { return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0; }
INLINE void begin(void) { _tile_loadconfig(&TILES); }
INLINE void end(void) { _tile_release(); }

/* Compilers do not know that tiles read memory and write it. */
INLINE void written(void) { __asm__ volatile("" ::: "memory"); }

INLINE void fetch(const Ahead *ahead, int64_t step) {
    for (int64_t row = ahead->first; row < SIDE; row += ahead->each) {
        _mm_prefetch((const char *)(ahead->near + step * ahead->step + row * ahead->row), _MM_HINT_T1);
        _mm_prefetch((const char *)(ahead->far + step * ahead->step + row * ahead->row), _MM_HINT_T1);
    }
}

INLINE void multiply(Rows rows, Columns columns, int64_t pairs, int fresh, Sums sums, Ahead ahead) {
    float *upper = sums.first, *lower = upper + sums.down;
    const int64_t right = sums.right, line = 4 * sums.row;
    written();
    if (fresh) {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    } else {
        _tile_loadd(0, upper, line); _tile_loadd(2, lower, line);
        if (columns.both) { _tile_loadd(1, upper + right, line); _tile_loadd(3, lower + right, line); }
    }
    for (int64_t step = 0; step < (pairs + SIDE - 1) / SIDE; step++) {
        fetch(&ahead, step);
        _tile_loadd(4, rows.upper + step * rows.step, 2 * rows.row);
        _tile_loadd(6, columns.near + step * columns.step, 2 * STEP);
        if (columns.both) _tile_loadd(7, columns.far + step * columns.step, 2 * STEP);
        _tile_loadd(5, rows.lower + step * rows.step, 2 * rows.row);
        _tile_dpbf16ps(0, 4, 6);
        if (columns.both) _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        if (columns.both) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, upper, line); _tile_stored(2, lower, line);
    if (columns.both) { _tile_stored(1, upper + right, line); _tile_stored(3, lower + right, line); }
    written();
}
