/* Where a convolution of 3 x 3 by Winograd's reads and writes. Who includes this has said what a `number` of a map is,
   and how many RESULTS a side a spot has. Maps are (B, h, w, C). Lengths are in numbers. */

enum { TAPS = 3, INPUTS = RESULTS + TAPS - 1, POINTS = INPUTS * INPUTS }; /* a side; of a spot */

typedef struct {
    int64_t batch, height, width, channels; /* of the map that is read */
    int64_t rows, columns, outs;            /* of the map that is made */
    int64_t top, left;                      /* zeros before the one that is read */
    int64_t doubled;                        /* whether each place of the one in memory is 2 x 2 of it */
    int64_t biases;                         /* from the bias of one image to that of the next */
    int64_t kind;                           /* of weights, where they may be of several */
} Sizes;
typedef struct { int64_t image, row, column; } Spot; /* with the place of its first result */

/* Whether nothing is seen from a point: of a doubled map from -1, the third. */
static inline int blind(int64_t doubled, int point) {
    return doubled && (point / INPUTS == 2 || point % INPUTS == 2);
}

static int64_t across(const Sizes *sizes) { return (sizes->columns + RESULTS - 1) / RESULTS; }
static int64_t down(const Sizes *sizes) { return (sizes->rows + RESULTS - 1) / RESULTS; }
static int64_t all_spots(const Sizes *sizes) { return sizes->batch * down(sizes) * across(sizes); }

static Spot spot_at(int64_t index, const Sizes *sizes) {
    const int64_t row = index / across(sizes);
    return (Spot){row / down(sizes), row % down(sizes) * RESULTS, index % across(sizes) * RESULTS};
}

/* The numbers of each place that a spot reads: `zeros` outside. */
static void places_of(const number *x, const Sizes *sizes, Spot spot, const number *zeros, const number *to[POINTS]) {
    const int by = sizes->doubled ? 2 : 1;
    for (int place = 0; place < POINTS; place++) {
        const int64_t row = spot.row + place / INPUTS - sizes->top, column = spot.column + place % INPUTS - sizes->left;
        const int inside = row >= 0 && row < sizes->height && column >= 0 && column < sizes->width;
        const int64_t line = spot.image * (sizes->height / by) + row / by;
        const int there = inside && spot.image < sizes->batch;
        to[place] = there ? x + (line * (sizes->width / by) + column / by) * sizes->channels : zeros;
    }
}

/* Where the result of a place of a spot goes, in numbers; -1 outside. */
static int64_t result_of(const Sizes *sizes, Spot spot, int place) {
    const int64_t row = spot.row + place / RESULTS, column = spot.column + place % RESULTS;
    if (row >= sizes->rows || column >= sizes->columns) return -1;
    return ((spot.image * sizes->rows + row) * sizes->columns + column) * sizes->outs;
}
