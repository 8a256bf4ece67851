/* Runs the step of a GPU's bundle by CUDA's driver interface, without Tessera.
 *
 *   tessera compile step.mlir --target sm_90a -o step.tessera
 *   cc -std=c99 -Wall -I step.tessera examples/run_step.c -ldl -o run_step
 *   ./run_step step.tessera inputs.bin results.bin
 *
 * inputs.bin has the inputs one after the other, dense and row-major, results.bin gets the results. Nothing here ends the
 * program but main: functions say what went wrong in an error that their caller gave. Only the driver's library is needed,
 * which is looked up when the program runs, and no header of CUDA. */

#define _POSIX_C_SOURCE 200112L
#include "step.h"
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What went wrong; an empty text where nothing did. */
struct error {
    char text[512];
};

/* Writes the error, and gives 0, for false. */
static int fail(struct error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return 0;
}

/* The driver's types, as the CUDA Driver API Reference has them. */
typedef uint64_t address;
struct attribute {
    int id;
    char pad[4];
    union {
        char pad[64];
        unsigned cluster[3];
    } value;
};
struct config {
    unsigned grid[3], block[3], shared_bytes;
    void *stream;
    struct attribute *attributes;
    unsigned attribute_count;
};
enum { CLUSTER_DIMENSION = 4, MAX_DYNAMIC_SHARED = 8, TYPE_UINT8 = 0, PROMOTION_256B = 3 };

/* Its functions: a name, and the name that the library has for it. */
#define FUNCTIONS(F)                                                                                                            \
    F(init, "cuInit", (unsigned flags))                                                                                         \
    F(error_name, "cuGetErrorName", (int status, const char **name))                                                            \
    F(device_get, "cuDeviceGet", (int *device, int ordinal))                                                                    \
    F(context_retain, "cuDevicePrimaryCtxRetain", (void **context, int device))                                                 \
    F(context_release, "cuDevicePrimaryCtxRelease_v2", (int device))                                                            \
    F(context_set, "cuCtxSetCurrent", (void *context))                                                                          \
    F(module_load, "cuModuleLoadData", (void **module, const void *image))                                                      \
    F(module_unload, "cuModuleUnload", (void *module))                                                                          \
    F(module_function, "cuModuleGetFunction", (void **function, void *module, const char *name))                                \
    F(function_set, "cuFuncSetAttribute", (void *function, int attribute, int value))                                           \
    F(allocate, "cuMemAlloc_v2", (address * place, size_t bytes))                                                               \
    F(release, "cuMemFree_v2", (address place))                                                                                 \
    F(copy_in, "cuMemcpyHtoD_v2", (address to, const void *from, size_t bytes))                                                 \
    F(copy_out, "cuMemcpyDtoH_v2", (void *to, address from, size_t bytes))                                                      \
    F(copy, "cuMemcpyDtoD_v2", (address to, address from, size_t bytes))                                                        \
    F(launch, "cuLaunchKernelEx", (const struct config *config, void *function, void **parameters, void **extra))               \
    F(synchronize, "cuStreamSynchronize", (void *stream))                                                                       \
    F(encode, "cuTensorMapEncodeTiled",                                                                                         \
      (void *map, int type, unsigned rank, void *place, const uint64_t *extents, const uint64_t *strides, const uint32_t *box,  \
       const uint32_t *steps, int interleave, int swizzle, int promotion, int fill))

/* The driver, and what this program has of the GPU. */
struct gpu {
    void *library;
#define FIELD(name, symbol, parameters) int(*name) parameters;
    FUNCTIONS(FIELD)
#undef FIELD
    int device;
    void *context, *module;
    void **function; /* by kernel */
    address *input, *result;
    address constants, arena, workspace;
};

/* Whether a call of the driver went well. */
static int check(const struct gpu *gpu, int status, const char *what, struct error *error) {
    const char *name = NULL;
    if (status == 0) return 1;
    if (gpu->error_name(status, &name) != 0 || name == NULL) name = "an error that the driver has no name for";
    return fail(error, "%s: %s", what, name);
}

static int open_driver(struct gpu *gpu, struct error *error) {
    gpu->library = dlopen("libcuda.so.1", RTLD_NOW);
    if (gpu->library == NULL) gpu->library = dlopen("libcuda.so", RTLD_NOW);
    if (gpu->library == NULL) return fail(error, "there is no driver: %s", dlerror());
#define FIND(name, symbol, parameters)                                                                                          \
    *(void **)&gpu->name = dlsym(gpu->library, symbol);                                                                         \
    if (gpu->name == NULL) return fail(error, "the driver has no %s: it is older than CUDA 12", symbol);
    FUNCTIONS(FIND)
#undef FIND
    return check(gpu, gpu->init(0), "the driver", error) && check(gpu, gpu->device_get(&gpu->device, 0), "GPU 0", error) &&
           check(gpu, gpu->context_retain(&gpu->context, gpu->device), "a context", error) &&
           check(gpu, gpu->context_set(gpu->context), "a context", error);
}

/* A file's bytes, with a zero behind them; the caller frees them. */
static char *read_file(const char *folder, const char *name, size_t *bytes, struct error *error) {
    char path[4096], *contents = NULL;
    long size = -1;
    FILE *file;
    snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", name);
    file = fopen(path, "rb");
    if (file == NULL) {
        fail(error, "%s cannot be opened", path);
        return NULL;
    }
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0)
        contents = malloc((size_t)size + 1);
    if (contents == NULL || fread(contents, 1, (size_t)size, file) != (size_t)size) {
        fail(error, "%s cannot be read", path);
        free(contents);
        contents = NULL;
    } else {
        contents[size] = 0;
        *bytes = (size_t)size;
    }
    fclose(file);
    return contents;
}

/* Loads machine code where there is some that the GPU runs, or else the text of kernels, which the driver translates. */
static int load(struct gpu *gpu, const char *folder, struct error *error) {
    struct error no_cubin;
    size_t bytes;
    uint32_t k;
    char *image;
    if (step.kernels == 0) return 1;
    image = read_file(folder, "kernels.cubin", &bytes, &no_cubin);
    if (image != NULL && gpu->module_load(&gpu->module, image) != 0) gpu->module = NULL;
    free(image);
    if (gpu->module == NULL) {
        int loaded;
        image = read_file(folder, "kernels.ptx", &bytes, error);
        if (image == NULL) return 0;
        loaded = check(gpu, gpu->module_load(&gpu->module, image), "kernels.ptx", error);
        free(image);
        if (!loaded) return 0;
    }
    gpu->function = calloc(step.kernels, sizeof *gpu->function);
    if (gpu->function == NULL) return fail(error, "no memory");
    for (k = 0; k < step.kernels; k++) {
        const struct tessera_kernel *kernel = &step.kernel[k];
        if (!check(gpu, gpu->module_function(&gpu->function[k], gpu->module, kernel->entry), kernel->entry, error)) return 0;
        if (kernel->shared_bytes > 0 &&
            !check(gpu, gpu->function_set(gpu->function[k], MAX_DYNAMIC_SHARED, (int)kernel->shared_bytes), kernel->entry, error))
            return 0;
    }
    return 1;
}

/* Memory of the GPU; no bytes have an address too. */
static int allocate(struct gpu *gpu, address *place, uint64_t bytes, const char *what, struct error *error) {
    return check(gpu, gpu->allocate(place, bytes > 0 ? bytes : 1), what, error);
}

/* Puts the constants, of a step that has some, into the GPU's memory. */
static int load_constants(struct gpu *gpu, const char *folder, struct error *error) {
    uint32_t i = 0;
    size_t bytes = 0;
    char *constants;
    int copied;
    while (i < step.buffers && step.buffer[i].place != TESSERA_CONSTANT) i++;
    if (i == step.buffers) return 1;
    constants = read_file(folder, "constants.bin", &bytes, error);
    if (constants == NULL) return 0;
    copied = allocate(gpu, &gpu->constants, bytes, "constants", error) &&
             (bytes == 0 || check(gpu, gpu->copy_in(gpu->constants, constants, bytes), "constants", error));
    free(constants);
    return copied;
}

static int allocate_all(struct gpu *gpu, const char *folder, struct error *error) {
    uint32_t i;
    gpu->input = calloc(step.inputs + 1, sizeof *gpu->input);
    gpu->result = calloc(step.results + 1, sizeof *gpu->result);
    if (gpu->input == NULL || gpu->result == NULL) return fail(error, "no memory");
    for (i = 0; i < step.results; i++)
        if (!allocate(gpu, &gpu->result[i], step.result[i].bytes, "memory for results", error)) return 0;
    for (i = 0; i < step.inputs; i++) {
        if (step.input[i].donated >= 0)
            gpu->input[i] = gpu->result[step.input[i].donated];
        else if (!allocate(gpu, &gpu->input[i], step.input[i].bytes, "memory for inputs", error))
            return 0;
    }
    if (!allocate(gpu, &gpu->arena, step.arena_bytes, "the arena", error)) return 0;
    if (!allocate(gpu, &gpu->workspace, step.workspace_bytes, "the workspace", error)) return 0;
    return load_constants(gpu, folder, error);
}

static address place_of(const struct gpu *gpu, uint32_t number) {
    const struct tessera_buffer *buffer = &step.buffer[number];
    switch (buffer->place) {
    case TESSERA_INPUT: return gpu->input[buffer->number];
    case TESSERA_RESULT: return gpu->result[buffer->number];
    case TESSERA_CONSTANT: return gpu->constants + buffer->offset;
    default: return gpu->arena + buffer->offset;
    }
}

/* The most parameters that a kernel of this program may have. */
enum { MOST_PARAMETERS = 1024, MOST_MAPS = 16 };

static int encode(const struct gpu *gpu, const struct tessera_map *map, address place, void *made, struct error *error) {
    static const uint32_t steps[5] = {1, 1, 1, 1, 1};
    int swizzle = map->swizzle_bytes == 32 ? 1 : map->swizzle_bytes == 64 ? 2 : map->swizzle_bytes == 128 ? 3 : 0;
    int status = gpu->encode(made, TYPE_UINT8, map->rank, (void *)(uintptr_t)place, map->extents, map->strides, map->box, steps, 0,
                             swizzle, PROMOTION_256B, 0);
    return check(gpu, status, "a tensor map", error);
}

static int launch(const struct gpu *gpu, const struct tessera_step *what, struct error *error) {
    const struct tessera_kernel *kernel = &step.kernel[what->a];
    address values[MOST_PARAMETERS];
    void *parameters[MOST_PARAMETERS + MOST_MAPS];
    /* A tensor map begins at a multiple of 64 bytes. */
    char bytes[(MOST_MAPS + 1) * 128], *maps = bytes + (64 - (uintptr_t)bytes % 64) % 64;
    struct attribute cluster = {CLUSTER_DIMENSION, {0}, {{0}}};
    struct config config = {{0}, {0}, 0, NULL, NULL, 0};
    uint32_t i, count = 0;
    if (kernel->buffers >= MOST_PARAMETERS || kernel->maps > MOST_MAPS)
        return fail(error, "%s: more parameters than this program has room for", kernel->entry);
    if (kernel->grid[0] == 0 || kernel->grid[1] == 0 || kernel->grid[2] == 0) return 1;
    for (i = 0; i < kernel->buffers; i++) values[count++] = place_of(gpu, what->list[i]);
    if (kernel->workspace_bytes > 0) values[count++] = gpu->workspace;
    for (i = 0; i < count; i++) parameters[i] = &values[i];
    for (i = 0; i < kernel->maps; i++) {
        if (!encode(gpu, &kernel->map[i], values[kernel->map[i].buffer], maps + i * 128, error)) return 0;
        parameters[count++] = maps + i * 128;
    }
    for (i = 0; i < 3; i++) {
        config.grid[i] = kernel->grid[i];
        config.block[i] = kernel->block[i];
        cluster.value.cluster[i] = kernel->cluster[i];
    }
    config.shared_bytes = kernel->shared_bytes;
    config.attributes = &cluster;
    /* GPUs without clusters refuse to be asked for one of a single CTA. */
    config.attribute_count = kernel->cluster[0] * kernel->cluster[1] * kernel->cluster[2] > 1;
    return check(gpu, gpu->launch(&config, gpu->function[what->a], parameters, NULL), kernel->entry, error);
}

/* Runs the step once. All that is launched goes into one stream, in order. */
static int run(const struct gpu *gpu, struct error *error) {
    uint32_t at = 0;
    while (at < step.steps) {
        const struct tessera_step *now = &step.step[at++];
        if (now->op == TESSERA_LAUNCH) {
            if (!launch(gpu, now, error)) return 0;
        } else if (now->op == TESSERA_COPY) {
            uint64_t bytes = step.buffer[now->a].bytes;
            int status = bytes > 0 ? gpu->copy(place_of(gpu, now->b), place_of(gpu, now->a), bytes) : 0;
            if (!check(gpu, status, "a copy", error)) return 0;
        } else if (now->op == TESSERA_GOTO) {
            at = now->b;
        } else if (now->op == TESSERA_UNLESS) {
            char condition = 0;
            if (!check(gpu, gpu->copy_out(&condition, place_of(gpu, now->a), 1), "a loop's condition", error)) return 0;
            if (!condition) at = now->b;
        } else {
            int32_t number = 0;
            if (!check(gpu, gpu->copy_out(&number, place_of(gpu, now->a), 4), "the number of a branch", error)) return 0;
            at = now->list[number < 0 || (uint32_t)number >= now->b ? now->b - 1 : (uint32_t)number];
        }
    }
    return check(gpu, gpu->synchronize(NULL), "the step", error);
}

static int copy_in(const struct gpu *gpu, const char *path, struct error *error) {
    size_t bytes, at = 0;
    uint32_t i;
    char *values = read_file("", path, &bytes, error);
    int copied = values != NULL;
    for (i = 0; copied && i < step.inputs; i++) {
        size_t own = step.input[i].bytes;
        if (bytes - at < own)
            copied = fail(error, "%s: expected %s for input %u (%s), found %zu bytes", path, step.input[i].type, (unsigned)i,
                          step.input[i].name, bytes - at);
        else if (own > 0)
            copied = check(gpu, gpu->copy_in(gpu->input[i], values + at, own), "an input", error);
        at += own;
    }
    if (copied && at != bytes) copied = fail(error, "%s: expected %zu bytes, found %zu", path, at, bytes);
    free(values);
    return copied;
}

static int copy_out(const struct gpu *gpu, const char *path, struct error *error) {
    FILE *file = fopen(path, "wb");
    uint32_t i;
    int copied = file != NULL || fail(error, "%s cannot be written", path);
    for (i = 0; copied && i < step.results; i++) {
        size_t own = step.result[i].bytes;
        char *values = malloc(own + 1);
        copied = values != NULL || fail(error, "no memory");
        if (copied && own > 0) copied = check(gpu, gpu->copy_out(values, gpu->result[i], own), "a result", error);
        if (copied && fwrite(values, 1, own, file) != own) copied = fail(error, "%s cannot be written", path);
        free(values);
    }
    if (file != NULL && fclose(file) != 0 && copied) copied = fail(error, "%s cannot be written", path);
    return copied;
}

/* Gives back what was got. */
static void close_all(struct gpu *gpu) {
    uint32_t i;
    if (gpu->context != NULL) {
        for (i = 0; gpu->result != NULL && i < step.results; i++)
            if (gpu->result[i] != 0) gpu->release(gpu->result[i]);
        for (i = 0; gpu->input != NULL && i < step.inputs; i++)
            if (gpu->input[i] != 0 && step.input[i].donated < 0) gpu->release(gpu->input[i]);
        if (gpu->constants != 0) gpu->release(gpu->constants);
        if (gpu->arena != 0) gpu->release(gpu->arena);
        if (gpu->workspace != 0) gpu->release(gpu->workspace);
        if (gpu->module != NULL) gpu->module_unload(gpu->module);
        gpu->context_release(gpu->device);
    }
    free(gpu->function);
    free(gpu->input);
    free(gpu->result);
    if (gpu->library != NULL) dlclose(gpu->library);
}

int main(int count, char **arguments) {
    struct gpu gpu = {0};
    struct error error = {""};
    int done;
    if (count != 4) {
        fprintf(stderr, "usage: %s BUNDLE INPUTS RESULTS\n", arguments[0]);
        return 2;
    }
    done = open_driver(&gpu, &error) && load(&gpu, arguments[1], &error) && allocate_all(&gpu, arguments[1], &error) &&
           copy_in(&gpu, arguments[2], &error) && run(&gpu, &error) && copy_out(&gpu, arguments[3], &error);
    if (!done) fprintf(stderr, "error: %s\n", error.text);
    close_all(&gpu);
    return done ? 0 : 1;
}
