/* By AVX-512's products of pairs of bfloat16s: see square.h. */

#include "factors_bfloat16.h"

typedef __m512 Lane;
enum { CHAIN = 1 << 16 }; /* all */

INLINE Lane begun(int fresh, const float *sums) { return fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(sums); }
INLINE void ended(Lane sums, int fresh, float *to) { (void)fresh, _mm512_storeu_ps(to, sums); }

INLINE Lane added(Lane sums, __m512i each, __m512i pairs) {
    return _mm512_dpbf16_ps(sums, (__m512bh)each, (__m512bh)pairs);
}

#include "square_lines.h"
