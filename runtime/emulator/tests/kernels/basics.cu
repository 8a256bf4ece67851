// Kernels that nvcc compiles to the text beside: `nvcc -ptx -arch=sm_90 basics.cu`.
#include <cuda_fp16.h>

__constant__ float table[4] = {1.f, 2.f, 3.f, 4.f};

extern "C" __global__ void add(const float* a, const float* b, float* c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i] * table[i & 3];
}

extern "C" __global__ void reduce(const float* x, float* y, int n) {
    __shared__ float sums[256];
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int k = blockDim.x / 2; k > 0; k /= 2) {
        if (threadIdx.x < k) sums[threadIdx.x] += sums[threadIdx.x + k];
        __syncthreads();
    }
    if (threadIdx.x == 0) atomicAdd(y, sums[0]);
}

extern "C" __global__ void histogram(const unsigned char* x, unsigned* bins, int n) {
    __shared__ unsigned own[256];
    own[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&own[x[i]], 1u);
    __syncthreads();
    atomicAdd(&bins[threadIdx.x], own[threadIdx.x]);
}

// An inclusive sum of each block of 256, by doubling.
extern "C" __global__ void scan(const int* x, int* y) {
    __shared__ int sums[2][256];
    int t = threadIdx.x, at = 0;
    sums[0][t] = x[blockIdx.x * 256 + t];
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        sums[1 - at][t] = sums[at][t] + (t >= step ? sums[at][t - step] : 0);
        at = 1 - at;
        __syncthreads();
    }
    y[blockIdx.x * 256 + t] = sums[at][t];
}

extern "C" __global__ void transpose(const float* x, float* y, int rows, int columns) {
    __shared__ float tile[32][33];
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8)
        if (row + k < rows && column < columns) tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * columns + column];
    __syncthreads();
    column = blockIdx.y * 32 + threadIdx.x, row = blockIdx.x * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8)
        if (row + k < columns && column < rows) y[(row + k) * rows + column] = tile[threadIdx.x][threadIdx.y + k];
}

extern "C" __global__ void softmax(const __half* x, __half* y, int n) {
    int row = blockIdx.x;
    float largest = -1e30f, sum = 0;
    for (int i = threadIdx.x; i < n; i += 32) largest = fmaxf(largest, __half2float(x[row * n + i]));
    for (int k = 16; k; k /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, k));
    for (int i = threadIdx.x; i < n; i += 32) sum += __expf(__half2float(x[row * n + i]) - largest);
    for (int k = 16; k; k /= 2) sum += __shfl_xor_sync(~0u, sum, k);
    for (int i = threadIdx.x; i < n; i += 32) y[row * n + i] = __float2half(__expf(__half2float(x[row * n + i]) - largest) / sum);
}

__device__ __noinline__ int ackermann(int m, int n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

// Every lane recurses to a depth of its own.
extern "C" __global__ void recursion(int* y) {
    y[threadIdx.x] = ackermann(threadIdx.x % 3, threadIdx.x % 5);
}

extern "C" __global__ void classes(const int* x, int* y) {
    int value = x[threadIdx.x], result;
    switch (value) {
        case 0: result = 31; break;
        case 1: result = value * 7; break;
        case 2: result = 100 / (value + 1); break;
        case 3: result = -5; break;
        case 4: result = 44; break;
        case 5: result = __popc(value); break;
        default: result = value << 3;
    }
    y[threadIdx.x] = result;
}

// Threads of one warp that take turns at a lock.
extern "C" __global__ void lock(int* lock, int* counter) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            int value = *(volatile int*)counter;
            *(volatile int*)counter = value + 1;
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}

extern "C" __global__ void local_array(const int* x, int* y, int n) {
    int own[16];
    for (int i = 0; i < 16; i++) own[i] = x[threadIdx.x * 16 + i];
    int at = threadIdx.x % 16;
    for (int i = 0; i < n; i++) at = own[at & 15] & 15;
    y[threadIdx.x] = at;
}

extern "C" __global__ void doubles(double* x) {
    int i = threadIdx.x;
    x[i] = sqrt(x[i]) / 3.0 + fma(x[i], 0.1, 1.0);
}
