/* What a linear layer is given. Who includes this has said what a `number` of a map is, and a `weight`. */

enum { SIXTEEN = 16 }; /* results that lie together */

typedef struct {
    int64_t channels, outs; /* of all results, of which the second half may be gates of the first */
    int64_t gated;
} Layer;
typedef struct { /* maps are (rows, channels) and (rows, outs); of a gated product (rows, outs / 2) */
    Layer layer;
    const number *x;
    const weight *weights; /* as `order` makes them, or as they came, (outs, channels) */
    const number *plus;
    const float *bias;
    number *to;
    int64_t rows, ordered, kind; /* the last of weights, where they may be of several */
} Work; /* what there is none of is NULL */

/* The first of each 16 results, as they come: those that are gated take turns with their gates. */
static int64_t sixteen(const Layer *layer, int64_t number) {
    return layer->gated ? number / 2 * SIXTEEN + number % 2 * (layer->outs / 2) : number * SIXTEEN;
}
