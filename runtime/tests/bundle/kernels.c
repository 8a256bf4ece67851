/* Kernels as a compiler would make them, for the tests' bundles. */
#include <stdint.h>
#include <string.h>

typedef void *const *Buffers;

/* tensor<1000xf32>, tensor<1000xf32> -> tensor<1000xf32>; blocks of 8 elements. */
void add(Buffers buffers, int64_t begin, int64_t end) {
    const float *a = buffers[0], *b = buffers[1];
    float *sum = buffers[2];
    for (int64_t i = 8 * begin; i < 8 * end; i++)
        sum[i] = a[i] + b[i];
}

/* tensor<1000xf32> -> tensor<1000xf32>; blocks of 8 elements. */
void negate(Buffers buffers, int64_t begin, int64_t end) {
    const float *a = buffers[0];
    float *negated = buffers[1];
    for (int64_t i = 8 * begin; i < 8 * end; i++)
        negated[i] = -a[i];
}

/* tensor<i32> -> tensor<i32>; one block. */
void increment(Buffers buffers, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    *(int32_t *)buffers[1] = *(const int32_t *)buffers[0] + 1;
}

/* tensor<i32>, tensor<i32> -> tensor<i1>; one block. */
void less(Buffers buffers, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    *(uint8_t *)buffers[2] = *(const int32_t *)buffers[0] < *(const int32_t *)buffers[1];
}

/* tensor<200x300xf32> -> tensor<200xf32>; a block a row; 1200 bytes of scratch. Sums pairs from the outside in, in
   scratch memory, so that a thread that writes into another's is found out. */
void row_sum(Buffers buffers, int64_t begin, int64_t end) {
    const float *rows = buffers[0];
    float *sums = buffers[1], *scratch = buffers[2];
    for (int64_t row = begin; row < end; row++) {
        memcpy(scratch, rows + 300 * row, 1200);
        for (int64_t length = 300; length > 1; length = (length + 1) / 2)
            for (int64_t i = 0; i < length / 2; i++)
                scratch[i] += scratch[length - 1 - i];
        sums[row] = scratch[0];
    }
}

/* tensor<i1>; writes what is no boolean. */
void not_a_boolean(Buffers buffers, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    *(uint8_t *)buffers[0] = 7;
}
