/* A square of sums of products in bfloat16, of which all kernels are made: 32 rows with 32 columns. Which instructions
   a processor has for it, the headers for them know.

   Columns lie as AMX wants them and AVX-512 takes them as well: in tiles of 32 numbers of 16 columns, pairs of numbers
   down and columns across. Lengths are in elements. */

#include "bfloat16.h"

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const bf16 *upper, *lower; /* 16 and 16 */
    int64_t row, step;         /* to the next of them, and to their next 32 numbers */
} Rows;
typedef struct {
    const bf16 *near, *far; /* 16 and 16 */
    int64_t step;           /* to their next tiles */
    int both;               /* or those that are near alone */
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
   sums, or are all of them where those are `fresh`. */
#ifdef __AMX_BF16__
#include "square_amx.h"
#else
#include "square_avx512.h"
#endif
