"""Kernels that Triton 3.9 compiles to the texts beside: `python triton_kernels.py`; it needs no GPU."""

import os

os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def softmax(x, y, n: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, n)
    values = tl.load(x + row * n + columns)
    values = tl.exp(values - tl.max(values, 0))
    tl.store(y + row * n + columns, values / tl.sum(values, 0))


@triton.jit
def dot(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(a + i[:, None] * K + k[None, :])
    y = tl.load(b + k[:, None] * N + j[None, :])
    tl.store(c + i[:, None] * N + j[None, :], tl.dot(x, y))


@triton.jit
def dot_mxfp4(a, a_scales, b, b_scales, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, k, s = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K // 2), tl.arange(0, K // 32)
    x = tl.load(a + i[:, None] * (K // 2) + k[None, :])
    y = tl.load(b + j[None, :] * (K // 2) + k[:, None])
    x_scales = tl.load(a_scales + i[:, None] * (K // 32) + s[None, :])
    y_scales = tl.load(b_scales + j[:, None] * (K // 32) + s[None, :])
    tl.store(c + i[:, None] * N + j[None, :], tl.dot_scaled(x, x_scales, "e2m1", y, y_scales, "e2m1"))


@triton.jit
def dot_scaled(a, a_scales, b, b_scales, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, k, s = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K // 2), tl.arange(0, K // 16)
    x = tl.load(a + i[:, None] * (K // 2) + k[None, :])
    y = tl.load(b + j[None, :] * (K // 2) + k[:, None])
    x_scales = tl.load(a_scales + i[:, None] * (K // 16) + s[None, :])
    y_scales = tl.load(b_scales + j[:, None] * (K // 16) + s[None, :])
    tl.store(c + i[:, None] * N + j[None, :], tl.dot_scaled(x, x_scales, "e2m1", y, y_scales, "e2m1"))


# A product of as many tiles as there are CTAs, each of as many steps along k as there are.
@triton.jit
def matmul(a, b, c, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    sums = tl.zeros((M, N), tl.float32)
    for at in tl.range(0, k, K):
        d = at + tl.arange(0, K)
        sums = tl.dot(tl.load(a + i[:, None] * k + d[None, :]), tl.load(b + d[:, None] * n + j[None, :]), sums)
    tl.store(c + i[:, None] * n + j[None, :], sums)


@triton.jit
def matmul_scaled(a, a_scales, b, b_scales, c, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    sums = tl.zeros((M, N), tl.float32)
    for at in tl.range(0, k, K):
        d, s = at // 2 + tl.arange(0, K // 2), at // 16 + tl.arange(0, K // 16)
        x = tl.load(a + i[:, None] * (k // 2) + d[None, :])
        y = tl.load(b + j[None, :] * (k // 2) + d[:, None])
        x_scales = tl.load(a_scales + i[:, None] * (k // 16) + s[None, :])
        y_scales = tl.load(b_scales + j[:, None] * (k // 16) + s[None, :])
        sums = tl.dot_scaled(x, x_scales, "e2m1", y, y_scales, "e2m1", sums)
    tl.store(c + i[:, None] * n + j[None, :], sums)


# Tiles come by tensor maps, three stages ahead; wgmma multiplies them.
@triton.jit
def pipeline(a, b, c, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.program_id(0) * M, tl.program_id(1) * N
    sums = tl.zeros((M, N), tl.float32)
    for at in tl.range(0, k, K, num_stages=3):
        sums = tl.dot(a.load([i, at]), b.load([at, j]), sums)
    rows, columns = i + tl.arange(0, M), j + tl.arange(0, N)
    tl.store(c + rows[:, None] * n + columns[None, :], sums)


# The maps are made by the kernel, in memory that the launch gives.
@triton.jit
def descriptors(a, b, c, m, n, M: tl.constexpr, N: tl.constexpr):
    x = tl.make_tensor_descriptor(a, [m, n], [n, 1], [M, N])
    y = tl.make_tensor_descriptor(b, [m, n], [n, 1], [M, N])
    z = tl.make_tensor_descriptor(c, [m, n], [n, 1], [M, N])
    i, j = tl.program_id(0) * M, tl.program_id(1) * N
    z.store([i, j], x.load([i, j]) + y.load([i, j]))


KERNELS = {
    "softmax": (softmax, {"x": "*fp32", "y": "*fp32"}, {"n": 512}, [90]),
    "dot": (dot, {"a": "*fp16", "b": "*fp16", "c": "*fp32"}, {"M": 32, "N": 32, "K": 64}, [80, 120]),
    "dot_scaled": (dot_scaled, {"a": "*u8", "a_scales": "*fp8e4nv", "b": "*u8", "b_scales": "*fp8e4nv", "c": "*fp32"},
                   {"M": 128, "N": 32, "K": 128}, [120]),
    # Of 128 rows: tensor memory.
    "dot_128": (dot, {"a": "*fp16", "b": "*fp16", "c": "*fp32"}, {"M": 128, "N": 64, "K": 64}, [100]),
    "dot_nvfp4": (dot_scaled, {"a": "*u8", "a_scales": "*fp8e4nv", "b": "*u8", "b_scales": "*fp8e4nv", "c": "*fp32"},
                  {"M": 128, "N": 64, "K": 128}, [100]),
    "dot_mxfp4": (dot_mxfp4, {"a": "*u8", "a_scales": "*u8", "b": "*u8", "b_scales": "*u8", "c": "*fp32"},
                  {"M": 128, "N": 64, "K": 256}, [100]),
    "matmul": (matmul, {"a": "*fp16", "b": "*fp16", "c": "*fp32", "n": "i32", "k": "i32"}, {"M": 64, "N": 64, "K": 32}, [80]),
    "matmul_nvfp4": (matmul_scaled, {"a": "*u8", "a_scales": "*fp8e4nv", "b": "*u8", "b_scales": "*fp8e4nv", "c": "*fp32",
                                     "n": "i32", "k": "i32"}, {"M": 128, "N": 64, "K": 128}, [100, 120]),
    "pipeline": (pipeline, {"a": "tensordesc<fp16[64,64]>", "b": "tensordesc<fp16[64,64]>", "c": "*fp32", "n": "i32", "k": "i32"},
                 {"M": 64, "N": 64, "K": 64}, [90]),
    "descriptors": (descriptors, {"a": "*fp32", "b": "*fp32", "c": "*fp32", "m": "i32", "n": "i32"},
                    {"M": 16, "N": 32}, [90]),
}

for name, (function, signature, constants, targets) in KERNELS.items():
    for target in targets:
        source = ASTSource(function, signature | {key: "constexpr" for key in constants}, constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", target, 32), options={"num_warps": 4})
        with open(f"triton_{name}_sm_{target}.ptx", "w") as file:
            file.write(compiled.asm["ptx"])
