/* A square of sums of products, of which all kernels are made: 32 rows with 32 columns. Which instructions a processor
   has for it, the headers for them know, and of what: of bfloat16s as they are read, or of what is made of them before,
   their `factor`s.

   Columns lie as AMX wants them and AVX-512 takes them as well: in tiles of 32 numbers of 16 columns, pairs of numbers
   down and columns across. Lengths are in elements. */

#include "bfloat16.h"

#define INLINE static inline __attribute__((always_inline))

typedef uint16_t factor;
typedef struct {
    const factor *upper, *lower; /* 16 and 16 */
    int64_t row, step;           /* to the next of them, and to their next 32 numbers */
} Rows;
typedef struct {
    const factor *near, *far; /* 16 and 16 */
    int64_t step;             /* to their next tiles */
    int both;                 /* or those that are near alone */
} Columns;
typedef struct {
    float *first;
    int64_t row, right, down; /* to the next, to those of the far columns, to those of the lower rows */
} Sums;
typedef struct {
    const bf16 *near, *far; /* 16 and 16 rows that are read soon, 32 numbers at a time */
    int64_t row, step;      /* to the next row, and to the next 32 numbers */
    int64_t first, each;    /* of the 16 those that are fetched now */
} Ahead;

static const Ahead NOTHING = {NULL, NULL, 0, 0, SIDE, SIDE};

/* One tile of 16 by 16 sums behind the other. */
INLINE Sums in_tiles(float *first) { return (Sums){first, SIDE, SIDE * SIDE, 2 * SIDE * SIDE}; }

/* Of a header:
   permitted: whether the system lets this process use what it needs.
   begin, end: by each thread, before its products and after them.
   multiply: the products of as many pairs of numbers, behind which there are zeros up to 32 numbers, are added to the
   sums, or are all of them where those are `fresh`.
   as_factors, as_shrunken: 32 bfloat16s as factors, as those of the one side of a product and of the other.
   factors_of, shrink: the same of 16 and 16 float32s.
   wide_factors, narrow_factors: 16 factors to float32s and back, without shrinking.
   with_factors: sixteen float32s and 32 factors, two to each of them.
   AS_READ: whether factors are the bfloat16s themselves, on either side.
   HEADROOM: how many binary digits above one may be needed of a factor whose products with others are summed. */
#if defined __AMX_BF16__
#include "square_amx.h"
#elif defined __AVX512FP16__
#include "square_halves.h"
#else
#include "square_pairs.h"
#endif
