/* By AVX-512's products of half precision: see square.h. Intel's processors take a quarter of the time for them that
   they take for pairs of bfloat16s, but their sums are in half precision as well: so these are short, and are summed
   in float32.

   Half precision has three binary digits more than bfloat16, and less room. One of two factors is shrunken, which sums
   make up for: numbers and their short sums may reach a million. */

enum { LINES = 8, CHAIN = 4 }; /* rows at once; tiles of 32 numbers whose products are summed in half precision */
enum { AS_READ = 0, HEADROOM = 4 };
static const float SHRUNKEN = 0x1p-4f, LARGEST = 65504;

int permitted(void) { return 1; }
INLINE void begin(void) {}
INLINE void end(void) {}

INLINE __m256i halves_of(__m512 x) { /* what is no number stays none */
    const __m512 within = _mm512_min_ps(_mm512_set1_ps(LARGEST), _mm512_max_ps(_mm512_set1_ps(-LARGEST), x));
    return (__m256i)_mm512_cvtxps_ph(within);
}

INLINE __m512 wide_factors(const factor *from) {
    return _mm512_cvtxph_ps((__m256h)_mm256_loadu_si256((const __m256i *)from));
}

INLINE void narrow_factors(__m512 x, factor *to) { _mm256_storeu_si256((__m256i *)to, halves_of(x)); }

INLINE __m512i factors_of(__m512 low, __m512 high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(halves_of(low)), halves_of(high), 1);
}

INLINE __m512 shrink(__m512 x) { return _mm512_mul_ps(x, _mm512_set1_ps(SHRUNKEN)); }

INLINE __m512i pairs_of(__m512 even, __m512 odd) {
    const __m512i low = _mm512_cvtepu16_epi32(halves_of(even)), high = _mm512_cvtepu16_epi32(halves_of(odd));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

INLINE __m512 even_of(__m512i pairs) { return (__m512)_mm512_slli_epi32(pairs, 16); }
INLINE __m512 odd_of(__m512i pairs) { return (__m512)_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)); }
INLINE __m512i as_factors(__m512i pairs) { return pairs_of(even_of(pairs), odd_of(pairs)); }
INLINE __m512i as_shrunken(__m512i pairs) { return pairs_of(shrink(even_of(pairs)), shrink(odd_of(pairs))); }

INLINE __m512h halves_at(const factor *x) { return (__m512h)_mm512_loadu_si512(x); }

/* The same pair sixteen times. */
INLINE __m512h pair_at(const factor *x) {
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    return (__m512h)_mm512_set1_epi32(bits);
}

/* Sums of pairs, the even and the odd together, are added to 16 in float32, or are all of them. */
INLINE void add(__m512h pairs, int fresh, float *to) {
    const __m512h both = _mm512_add_ph(pairs, (__m512h)_mm512_srli_epi32((__m512i)pairs, 16));
    const __m512 sums = _mm512_cvtxph_ps((__m256h)_mm512_cvtepi32_epi16((__m512i)both));
    const __m512 grown = _mm512_set1_ps(1 / SHRUNKEN);
    _mm512_storeu_ps(to, fresh ? _mm512_mul_ps(sums, grown) : _mm512_fmadd_ps(sums, grown, _mm512_loadu_ps(to)));
}

INLINE void multiply_lines(const factor *lines, const Rows *rows, const Columns *columns, int64_t pairs, int fresh,
                           float *to, const Sums *sums) {
    __m512h near[LINES], far[LINES];
#pragma GCC unroll 8
    for (int line = 0; line < LINES; line++) near[line] = far[line] = _mm512_setzero_ph();
    for (int64_t left = pairs, step = 0; left > 0; left -= SIDE, step++) {
        const factor *from = lines + step * rows->step;
        const factor *near_tile = columns->near + step * columns->step, *far_tile = columns->far + step * columns->step;
        for (int64_t pair = 0; pair < SIDE && pair < left; pair++) {
            const __m512h near_pairs = halves_at(near_tile + pair * STEP);
            const __m512h far_pairs = halves_at(far_tile + pair * STEP);
#pragma GCC unroll 8
            for (int line = 0; line < LINES; line++) {
                const __m512h each = pair_at(from + line * rows->row + 2 * pair);
                near[line] = _mm512_fmadd_ph(each, near_pairs, near[line]);
                if (columns->both) far[line] = _mm512_fmadd_ph(each, far_pairs, far[line]);
            }
        }
    }
#pragma GCC unroll 8
    for (int line = 0; line < LINES; line++) {
        add(near[line], fresh, to + line * sums->row);
        if (columns->both) add(far[line], fresh, to + line * sums->row + sums->right);
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
