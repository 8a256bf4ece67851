/* How to run the step of this bundle by CUDA's driver interface: what goes in and out, the memory that its values lie in,
   the kernels of kernels.ptx (and of kernels.cubin, where there is one), and the order in which they run. */
#pragma once
#include <stdint.h>

#ifndef TESSERA_TYPES
#define TESSERA_TYPES

/* An input or a result. An input with a donated result shares memory with it: what the step leaves there is the result. */
struct tessera_tensor {
    const char *name; /* "" where it has none */
    const char *type; /* tensor<8x16xf32>, dense and row-major */
    uint64_t bytes;
    int64_t donated; /* the result that takes over an input's memory, -1 where none does */
};

/* Where a value lies: from the first byte of an input, a result or a constant on, or in the arena. All of these begin at
   multiples of 256 bytes. */
enum tessera_place { TESSERA_INPUT, TESSERA_RESULT, TESSERA_CONSTANT, TESSERA_ARENA };

struct tessera_buffer {
    enum tessera_place place;
    uint32_t number; /* of the input, result or constant */
    uint64_t offset; /* in constants.bin or the arena */
    uint64_t bytes;
};

/* A parameter for cuTensorMapEncodeTiled: elements are bytes, none is left out, outside of the tensor are zeros. */
struct tessera_map {
    uint32_t buffer; /* of the launch's: the tensor begins where it does */
    uint32_t rank;
    uint64_t extents[5];
    uint64_t strides[4];
    uint32_t box[5];
    uint32_t swizzle_bytes; /* 0, 32, 64 or 128 */
};

/* A kernel. Its parameters are the addresses of a launch's buffers, then, where workspace_bytes is not 0, that of as many
   bytes, which nobody else uses while it runs, then its tensor maps, 128 bytes each. */
struct tessera_kernel {
    const char *entry;
    uint32_t grid[3]; /* a 0: there is nothing to do */
    uint32_t block[3];
    uint32_t cluster[3];
    uint32_t shared_bytes; /* dynamic; above 48 KiB the function has to be asked for it */
    uint64_t workspace_bytes;
    uint32_t buffers;
    uint32_t maps;
    const struct tessera_map *map;
};

/* A step; when it is done the next one is, unless it says where to go on. */
enum tessera_op {
    TESSERA_LAUNCH, /* kernel a, with the buffers of list: operands, then results */
    TESSERA_COPY,   /* the bytes of buffer a become those of buffer b */
    TESSERA_UNLESS, /* goes on with step b where the byte of buffer a is 0 */
    TESSERA_GOTO,   /* goes on with step b */
    TESSERA_CASE    /* goes on with the step of list whose number is the int32 of buffer a; the last of the b there are where
                       it has none of that number */
};

struct tessera_step {
    enum tessera_op op;
    uint32_t a, b;
    const uint32_t *list;
};

struct tessera_program {
    const char *target; /* sm_90a */
    uint32_t inputs;
    const struct tessera_tensor *input;
    uint32_t results;
    const struct tessera_tensor *result;
    uint32_t buffers;
    const struct tessera_buffer *buffer;
    const struct tessera_kernel *kernel;
    uint32_t kernels;
    const struct tessera_step *step;
    uint32_t steps;
    uint64_t arena_bytes;
    uint64_t workspace_bytes; /* the most that a kernel asks for */
};
#endif
