// Kernels that work beside themselves, compiled to the text beside: `nvcc -ptx -arch=sm_90a asynchronous.cu`.
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <stdint.h>

__device__ uint32_t shared(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

__device__ void init(uint64_t* barrier, uint32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared(barrier)), "r"(count) : "memory");
}

__device__ void arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared(barrier)) : "memory");
}

__device__ void expect(uint64_t* barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared(barrier)), "r"(bytes) : "memory");
}

__device__ void wait(uint64_t* barrier, uint32_t parity) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}" ::"r"(
            shared(barrier)),
        "r"(parity)
        : "memory");
}

// C (m×n) = A (m×k, rows) · B (n×k, rows): tiles of 32×32, k in steps of 32 through two stages of shared memory.
extern "C" __global__ void __launch_bounds__(64) gemm(const __half* a, const __half* b, float* c, int n, int k) {
    __shared__ __align__(128) __half as[2][32][32], bs[2][32][32];
    int t = threadIdx.x, warp = t / 32, lane = t % 32;
    int row0 = blockIdx.y * 32, column0 = blockIdx.x * 32;
    float sums[4][4] = {};
    auto load = [&](int stage, int at) {
        for (int i = t; i < 128; i += 64) {
            int row = i / 4, chunk = i % 4;
            uint32_t to_a = shared(&as[stage][row][chunk * 8]), to_b = shared(&bs[stage][row][chunk * 8]);
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to_a), "l"(a + (row0 + row) * k + at + chunk * 8));
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to_b), "l"(b + (column0 + row) * k + at + chunk * 8));
        }
        asm volatile("cp.async.commit_group;");
    };
    load(0, 0);
    for (int at = 0, stage = 0; at < k; at += 32, stage ^= 1) {
        if (at + 32 < k) {
            load(stage ^ 1, at + 32);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();
        for (int kk = 0; kk < 32; kk += 16) {
            uint32_t x[4], y[2];
            uint32_t from = shared(&as[stage][warp * 16 + lane % 16][kk + lane / 16 * 8]);
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(from) : "memory");
            for (int j = 0; j < 4; j++) {
                uint32_t from = shared(&bs[stage][j * 8 + lane % 8][kk + lane / 8 % 2 * 8]);
                asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(y[0]), "=r"(y[1]) : "r"(from) : "memory");
                asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                    : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])
                    : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
            }
        }
        __syncthreads();
    }
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++)
            c[(row0 + warp * 16 + lane / 4 + i / 2 * 8) * n + column0 + j * 8 + lane % 4 * 2 + i % 2] = sums[j][i];
}

// The sum of a cluster's numbers, in its first CTA: the others write into its shared memory.
extern "C" __global__ void __cluster_dims__(4, 1, 1) cluster_sum(const int* x, int* y) {
    __shared__ int own[64], parts[4];
    auto cluster = cooperative_groups::this_cluster();
    int t = threadIdx.x, rank = cluster.block_rank();
    own[t] = x[blockIdx.x * 64 + t];
    __syncthreads();
    for (int k = 32; k; k /= 2) {
        if (t < k) own[t] += own[t + k];
        __syncthreads();
    }
    if (t == 0) *cluster.map_shared_rank(&parts[rank], 0) = own[0];
    cluster.sync();
    if (rank == 0 && t == 0) y[blockIdx.x / 4] = parts[0] + parts[1] + parts[2] + parts[3];
}

// Rows of 256 numbers go through a ring of two stages: one warp copies them in bulk, another one doubles them and sends
// them back in bulk.
extern "C" __global__ void __launch_bounds__(64) ring(const float* x, float* y, int rows) {
    __shared__ __align__(128) float stages[2][256];
    __shared__ __align__(128) float results[256];
    __shared__ uint64_t full[2], empty[2];
    int t = threadIdx.x;
    if (t == 0) {
        for (int i = 0; i < 2; i++) init(&full[i], 1), init(&empty[i], 32);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (t < 32) {
        for (int row = 0; row < rows; row++) {
            int stage = row % 2, phase = row / 2 & 1;
            if (t == 0) {
                wait(&empty[stage], phase ^ 1);
                expect(&full[stage], 1024);
                asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 1024, [%2];" ::"r"(shared(stages[stage])),
                    "l"(x + row * 256), "r"(shared(&full[stage])) : "memory");
            }
            __syncwarp();
        }
    } else {
        for (int row = 0; row < rows; row++) {
            int stage = row % 2, phase = row / 2 & 1;
            wait(&full[stage], phase);
            float own[8];
            for (int i = 0; i < 8; i++) own[i] = 2 * stages[stage][t - 32 + i * 32];
            arrive(&empty[stage]);
            if (t == 32) asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
            __syncwarp();
            for (int i = 0; i < 8; i++) results[t - 32 + i * 32] = own[i];
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
            __syncwarp();
            if (t == 32) {
                asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], 1024;" ::"l"(y + row * 256), "r"(shared(results)) : "memory");
                asm volatile("cp.async.bulk.commit_group;" ::: "memory");
            }
        }
        if (t == 32) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    }
}

// Two CTAs exchange: each sends a row to the other in bulk, and both add rows in global memory.
extern "C" __global__ void __cluster_dims__(2, 1, 1) exchange(const int* x, int* y, int* sum) {
    __shared__ __align__(128) int own[64], other[64];
    __shared__ uint64_t barrier;
    auto cluster = cooperative_groups::this_cluster();
    int t = threadIdx.x, rank = cluster.block_rank();
    own[t] = x[rank * 64 + t];
    if (t == 0) {
        init(&barrier, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        expect(&barrier, 256);
    }
    asm volatile("fence.proxy.async;" ::: "memory");
    cluster.sync();
    if (t == 0) {
        uint32_t to, at;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(shared(other)), "r"(rank ^ 1));
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(shared(&barrier)), "r"(rank ^ 1));
        asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], 256, [%2];" ::"r"(to), "r"(shared(own)), "r"(at) : "memory");
        asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.s32 [%0], [%1], 256;" ::"l"(sum), "r"(shared(own)) : "memory");
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    }
    wait(&barrier, 0);
    y[rank * 64 + t] = other[t];
    cluster.sync();
}
