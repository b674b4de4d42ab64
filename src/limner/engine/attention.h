/* Where queries, keys and values lie. Who includes this has said what a `number` of theirs is. */

typedef struct { int64_t batch, head, row; } Strides;
typedef struct { const number *data; Strides by; } Map;
