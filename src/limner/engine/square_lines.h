/* A square by vectors: see square.h. The sums of 8 rows by 2 x 16 columns are in registers at a time, and as many
   columns. Products are slow enough for the processor to fetch by itself what they read.

   Of the header that includes this one, before it does:
   Lane: 16 columns' sums of a row while they are in registers.
   CHAIN: how many tiles of 32 numbers are summed there at most.
   begun, ended: from memory and back, where there are none yet if they are `fresh`; what the one leaves there the other
   adds.
   added: sums with the products of a pair, which is there sixteen times, and the pairs of sixteen columns. */

enum { LINES = 8 };

int permitted(void) { return 1; }
INLINE void begin(void) {}
INLINE void end(void) {}

/* The same pair sixteen times. */
INLINE __m512i pair_at(const factor *x) {
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    return _mm512_set1_epi32(bits);
}

INLINE void multiply_lines(const factor *lines, const Rows *rows, const Columns *columns, int64_t pairs, int fresh,
                           float *to, const Sums *sums) {
    Lane near[LINES], far[LINES];
#pragma GCC unroll 8
    for (int line = 0; line < LINES; line++) {
        near[line] = begun(fresh, to + line * sums->row);
        far[line] = begun(fresh || !columns->both, to + line * sums->row + sums->right);
    }
    for (int64_t left = pairs, step = 0; left > 0; left -= SIDE, step++) {
        const factor *from = lines + step * rows->step;
        const factor *near_tile = columns->near + step * columns->step, *far_tile = columns->far + step * columns->step;
        for (int64_t pair = 0; pair < SIDE && pair < left; pair++) {
            const __m512i near_pairs = _mm512_loadu_si512(near_tile + pair * STEP);
            const __m512i far_pairs = _mm512_loadu_si512(far_tile + pair * STEP);
#pragma GCC unroll 8
            for (int line = 0; line < LINES; line++) {
                const __m512i each = pair_at(from + line * rows->row + 2 * pair);
                near[line] = added(near[line], each, near_pairs);
                if (columns->both) far[line] = added(far[line], each, far_pairs);
            }
        }
    }
#pragma GCC unroll 8
    for (int line = 0; line < LINES; line++) {
        ended(near[line], fresh, to + line * sums->row);
        if (columns->both) ended(far[line], fresh, to + line * sums->row + sums->right);
    }
}

INLINE void multiply(Rows rows, Columns columns, int64_t pairs, int fresh, Sums sums, Ahead ahead) {
    (void)ahead;
    for (; pairs > 0; pairs -= CHAIN * SIDE, fresh = 0) {
        const int64_t some = pairs < CHAIN * SIDE ? pairs : CHAIN * SIDE;
        for (int64_t line = 0; line < 2 * SIDE; line += LINES) {
            const int lower = line >= SIDE;
            const int64_t here = line % SIDE;
            const factor *lines = (lower ? rows.lower : rows.upper) + here * rows.row;
            float *to = sums.first + (lower ? sums.down : 0) + here * sums.row;
            multiply_lines(lines, &rows, &columns, some, fresh, to, &sums);
        }
        rows.upper += CHAIN * rows.step, rows.lower += CHAIN * rows.step;
        columns.near += CHAIN * columns.step, columns.far += CHAIN * columns.step;
    }
}
