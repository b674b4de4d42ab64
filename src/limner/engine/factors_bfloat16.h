/* Factors that are bfloat16s as they are read: see square.h. */

enum { AS_READ = 1, HEADROOM = 32 };

INLINE __m512i as_factors(__m512i pairs) { return pairs; }
INLINE __m512i as_shrunken(__m512i pairs) { return pairs; }
INLINE __m512 shrink(__m512 x) { return x; }
INLINE __m512i factors_of(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
INLINE __m512 wide_factors(const factor *from) { return wide(from); }
INLINE void narrow_factors(__m512 x, factor *to) { narrow(x, to); }

/* Sums with those of each pair. */
INLINE __m512 with_factors(__m512 sums, __m512i factors) {
    return _mm512_dpbf16_ps(sums, (__m512bh)factors, (__m512bh)_mm512_set1_epi32(0x3f803f80)); /* ones */
}
