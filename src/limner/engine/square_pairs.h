/* By AVX-512's products of pairs of bfloat16s: see square.h. These are slow enough for the processor to fetch by itself
   what they read. */

enum { LINES = 8 }; /* rows at once, whose 2 x 16 sums and as many columns are in registers */

int permitted(void) { return 1; }
INLINE void begin(void) {}
INLINE void end(void) {}

INLINE __m512bh pairs_at(const factor *x) { return (__m512bh)_mm512_loadu_si512(x); }

/* The same pair sixteen times. */
INLINE __m512bh pair_at(const factor *x) {
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
}

INLINE void multiply_lines(const factor *lines, const Rows *rows, const Columns *columns, int64_t pairs, int fresh,
                           float *to, const Sums *sums) {
    __m512 near[LINES], far[LINES];
#pragma GCC unroll 8
    for (int line = 0; line < LINES; line++) {
        const float *from = to + line * sums->row;
        near[line] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(from);
        far[line] = fresh || !columns->both ? _mm512_setzero_ps() : _mm512_loadu_ps(from + sums->right);
    }
    for (int64_t left = pairs, step = 0; left > 0; left -= SIDE, step++) {
        const factor *from = lines + step * rows->step;
        const factor *near_tile = columns->near + step * columns->step, *far_tile = columns->far + step * columns->step;
        for (int64_t pair = 0; pair < SIDE && pair < left; pair++) {
            const __m512bh near_pairs = pairs_at(near_tile + pair * STEP), far_pairs = pairs_at(far_tile + pair * STEP);
#pragma GCC unroll 8
            for (int line = 0; line < LINES; line++) {
                const __m512bh each = pair_at(from + line * rows->row + 2 * pair);
                near[line] = _mm512_dpbf16_ps(near[line], each, near_pairs);
                if (columns->both) far[line] = _mm512_dpbf16_ps(far[line], each, far_pairs);
            }
        }
    }
#pragma GCC unroll 8
    for (int line = 0; line < LINES; line++) {
        _mm512_storeu_ps(to + line * sums->row, near[line]);
        if (columns->both) _mm512_storeu_ps(to + line * sums->row + sums->right, far[line]);
    }
}

INLINE void multiply(Rows rows, Columns columns, int64_t pairs, int fresh, Sums sums, Ahead ahead) {
    (void)ahead;
    for (int64_t line = 0; line < 2 * SIDE; line += LINES) {
        const int lower = line >= SIDE;
        const int64_t here = line % SIDE;
        const factor *lines = (lower ? rows.lower : rows.upper) + here * rows.row;
        float *to = sums.first + (lower ? sums.down : 0) + here * sums.row;
        multiply_lines(lines, &rows, &columns, pairs, fresh, to, &sums);
    }
}
