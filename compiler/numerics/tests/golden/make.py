"""Makes the golden files of the low-precision formats with ml_dtypes 0.5 and numpy, which share no code with the crate.

    python make.py

codecs.safetensors, for each element format F:
    F.decoded    f32, the number of every code
    F.values     f32, numbers around every tie, the range's ends, and some at random
    F.codes      u8, their nearest codes; NaN and what saturates left out, where ml_dtypes differs from PTX
e8m0.values, e8m0.codes: powers of two and their codes.

blocks.safetensors: block scaling written out with numpy. For each case C of nvfp4 (te, torchao) and mxfp4 (floor, rceil):
    C.values     f32, rows of numbers
    C.scales     u8, block scales
    C.codes      u8, codes, two a byte
    C.tensor_scale  f32 (nvfp4)
"""

import pathlib

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
ELEMENTS = {
    "e2m1": (ml_dtypes.float4_e2m1fn, 16),
    "e2m3": (ml_dtypes.float6_e2m3fn, 64),
    "e3m2": (ml_dtypes.float6_e3m2fn, 64),
    "e4m3": (ml_dtypes.float8_e4m3fn, 256),
    "e5m2": (ml_dtypes.float8_e5m2, 256),
}
E2M1, E4M3 = ELEMENTS["e2m1"][0], ELEMENTS["e4m3"][0]
LARGEST = np.finfo(np.float32).max


def codecs():
    random = np.random.default_rng(0)
    tensors = {}
    for name, (element, count) in ELEMENTS.items():
        decoded = np.arange(count, dtype=np.uint8).view(element).astype(np.float32)
        finite = np.sort(decoded[np.isfinite(decoded)])
        ties = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
        near = np.concatenate([finite, ties])
        up, down = np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))
        scattered = random.standard_normal(1000).astype(np.float32) * np.repeat(
            np.float32(2.0) ** np.arange(-12, 13, dtype=np.float32), 40
        )
        values = np.concatenate([near, up, down, scattered])
        values = values[np.abs(values) <= finite[-1]].astype(np.float32)
        tensors[f"{name}.decoded"] = decoded
        tensors[f"{name}.values"] = values
        tensors[f"{name}.codes"] = values.astype(element).view(np.uint8)
    codes = np.arange(255, dtype=np.uint8)
    tensors["e8m0.codes"] = codes
    tensors["e8m0.values"] = codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    save_file(tensors, HERE / "codecs.safetensors")


def pack(scaled):
    """Nearest E2M1 codes of numbers clamped to the range, two a byte."""
    codes = np.clip(scaled, np.float32(-6), np.float32(6)).astype(E2M1).view(np.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4


def nvfp4(values, rule):
    blocks = values.reshape(values.shape[0], -1, 16)
    amax, block_amax = np.abs(values).max(), np.abs(blocks).max(axis=-1)
    if rule == "te":
        encode = np.minimum(np.float32(2688) / amax, LARGEST)
        decode = np.float32(1) / encode
        wanted = block_amax * (encode * (np.float32(1) / np.float32(6)))
    else:
        decode = amax / np.float32(2688)
        wanted = np.maximum(block_amax / np.float32(6) / decode, np.float32(2.0**-6))
    scales = np.minimum(wanted, np.float32(448)).astype(E4M3)
    decoded = scales.astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        if rule == "te":
            factors = np.minimum(np.float32(1) / (decoded * decode), LARGEST)
        else:
            factors = np.float32(1) / decode / decoded
    codes = pack(blocks * factors[..., None])
    return {
        "scales": scales.view(np.uint8),
        "codes": codes.reshape(values.shape[0], -1),
        "tensor_scale": np.array([decode], np.float32),
    }


def mxfp4(values, rule):
    blocks = values.reshape(values.shape[0], -1, 32)
    block_amax = np.abs(blocks).max(axis=-1).astype(np.float64)
    with np.errstate(divide="ignore"):
        if rule == "floor":
            exponents = np.floor(np.log2(block_amax)) - 2
        else:
            exponents = np.ceil(np.log2(block_amax / 6))
    exponents = np.maximum(exponents, -127)
    codes = pack((blocks / np.exp2(exponents)[..., None]).astype(np.float32))
    return {
        "scales": (exponents + 127).astype(np.uint8),
        "codes": codes.reshape(values.shape[0], -1),
    }


def blocks():
    random = np.random.default_rng(1)
    tensors = {}
    for name, quantize, rule in [
        ("nvfp4.te", nvfp4, "te"),
        ("nvfp4.torchao", nvfp4, "torchao"),
        ("mxfp4.floor", mxfp4, "floor"),
        ("mxfp4.rceil", mxfp4, "rceil"),
    ]:
        values = random.standard_normal((32, 128)).astype(np.float32)
        values *= np.exp(random.standard_normal((32, 128)) * 1.5).astype(np.float32)
        values[3, 32:64] = 0
        values[5, :] *= np.float32(1e-6)
        tensors[f"{name}.values"] = values
        for part, array in quantize(values, rule).items():
            tensors[f"{name}.{part}"] = array
    save_file(tensors, HERE / "blocks.safetensors")


if __name__ == "__main__":
    codecs()
    blocks()
