// Kernels on boxes of tensors, compiled to the text beside: `nvcc -ptx -arch=sm_90a tensor.cu`.
#include <cuda.h>
#include <stdint.h>

__device__ uint32_t shared(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

__device__ void wait(uint32_t barrier, uint32_t parity) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}" ::"r"(barrier),
        "r"(parity)
        : "memory");
}

// Y = -X, by tiles of 32 columns and 16 rows: a warp loads them into two stages, swizzled, two others negate and store
// them from where they are.
extern "C" __global__ void __launch_bounds__(96)
    negate(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap y, int columns, int rows) {
    __shared__ __align__(1024) float stages[2][16][32];
    __shared__ uint64_t full[2], empty[2];
    int t = threadIdx.x, tiles = (columns + 31) / 32 * ((rows + 15) / 16);
    auto tile = [&](int i, int& column, int& row) {
        column = i % ((columns + 31) / 32) * 32;
        row = i / ((columns + 31) / 32) * 16;
    };
    if (t == 0) {
        for (int i = 0; i < 2; i++) {
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared(&full[i])));
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared(&empty[i])));
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("prefetch.tensormap [%0];" ::"l"(&x) : "memory");
    }
    __syncthreads();
    if (t < 32) {
        if (t == 0)
#pragma unroll 1
            for (int i = blockIdx.x, n = 0; i < tiles; i += gridDim.x, n++) {
                int stage = n % 2, column, row;
                tile(i, column, row);
                wait(shared(&empty[stage]), (n / 2 & 1) ^ 1);
                asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 2048;" ::"r"(shared(&full[stage])) : "memory");
                asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                                 shared(stages[stage])),
                             "l"(&x), "r"(column), "r"(row), "r"(shared(&full[stage]))
                             : "memory");
            }
    } else {
#pragma unroll 1
        for (int i = blockIdx.x, n = 0; i < tiles; i += gridDim.x, n++) {
            int stage = n % 2, column, row;
            tile(i, column, row);
            wait(shared(&full[stage]), n / 2 & 1);
            for (int k = t - 32; k < 128; k += 64) {
                float4& four = *(float4*)&stages[stage][k / 8][(k % 8 ^ k / 8 % 8) * 4];
                four = make_float4(-four.x, -four.y, -four.z, -four.w);
            }
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
            asm volatile("bar.sync 1, 64;" ::: "memory");
            if (t == 32) {
                asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&y), "r"(column), "r"(row),
                             "r"(shared(stages[stage]))
                             : "memory");
                asm volatile("cp.async.bulk.commit_group;" ::: "memory");
                asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
                asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared(&empty[stage])) : "memory");
            }
        }
    }
}
