/* By AVX-512's products of half precision: see square.h. Intel's processors take a quarter of the time for them that
   they take for pairs of bfloat16s, but their sums are in half precision as well: so these are short, and are summed
   in float32.

   Half precision has three binary digits more than bfloat16, and less room. One of two factors is shrunken, which sums
   make up for: numbers and their short sums may reach a million. */

typedef __m512h Lane; /* even numbers' sums and odd ones' take turns */
enum { CHAIN = 4, AS_READ = 0, HEADROOM = 4 };
static const float SHRUNKEN = 0x1p-4f, LARGEST = 65504;

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

INLINE __m512 with_factors(__m512 sums, __m512i factors) {
    const __m256h low = (__m256h)_mm512_castsi512_si256(factors), high = (__m256h)_mm512_extracti64x4_epi64(factors, 1);
    return _mm512_add_ps(sums, _mm512_add_ps(_mm512_cvtxph_ps(low), _mm512_cvtxph_ps(high)));
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

INLINE Lane begun(int fresh, const float *sums) { return (void)fresh, (void)sums, _mm512_setzero_ph(); }

INLINE void ended(Lane sums, int fresh, float *to) {
    const __m512h both = _mm512_add_ph(sums, (__m512h)_mm512_srli_epi32((__m512i)sums, 16));
    const __m512 wider = _mm512_cvtxph_ps((__m256h)_mm512_cvtepi32_epi16((__m512i)both));
    const __m512 grown = _mm512_set1_ps(1 / SHRUNKEN);
    _mm512_storeu_ps(to, fresh ? _mm512_mul_ps(wider, grown) : _mm512_fmadd_ps(wider, grown, _mm512_loadu_ps(to)));
}

INLINE Lane added(Lane sums, __m512i each, __m512i pairs) {
    return _mm512_fmadd_ph((__m512h)each, (__m512h)pairs, sums);
}

#include "square_lines.h"
