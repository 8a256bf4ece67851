"""Makes the golden files of the low-precision formats with ml_dtypes and numpy, which share no code with the crate.

    scripts/python.sh compiler/numerics/tests/golden/make.py   (part of `make fixtures`)

codecs.safetensors, for each element format F:
    F.decoded    f32, the number of every code
    F.values     f32, numbers around every tie, the range's ends, and some at random
    F.codes      u8, their nearest codes; NaN and what saturates left out, where ml_dtypes differs from PTX
e8m0.values, e8m0.codes: powers of two and their codes.

blocks.safetensors: block scaling as `quantization.py` writes it out. `values.INPUT` are tensors of numbers; for each case
C, named FORMAT.RULE.ROUNDING.SHAPE.AXIS.INPUT:
    C    u8, the codes and the scales as the crate stores them, then the four bytes of the tensor scale, 1 where there is none
"""

import pathlib

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

import quantization

HERE = pathlib.Path(__file__).parent
ELEMENTS = {
    "e2m1": (ml_dtypes.float4_e2m1fn, 16),
    "e2m3": (ml_dtypes.float6_e2m3fn, 64),
    "e3m2": (ml_dtypes.float6_e3m2fn, 64),
    "e4m3": (ml_dtypes.float8_e4m3fn, 256),
    "e5m2": (ml_dtypes.float8_e5m2, 256),
}
# Seed, step and site of the random bits.
STREAM = (0x1234_5678_9ABC_DEF0, 7, 3)


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


def inputs():
    """Tensors of numbers by name, and the axes to quantise along."""
    random = np.random.default_rng(1)
    normal = lambda *shape: random.standard_normal(shape).astype(np.float32)
    spread = normal(4, 96) * np.exp(1.5 * normal(4, 96))
    spread[1, 32:64] = 0
    spread[2] *= np.float32(1e-6)
    ragged = normal(2, 17, 18) * np.exp(normal(2, 17, 18))
    infinite, nan, tiny = (normal(3, 48) for _ in range(3))
    infinite[1, 20], nan[1, 20] = -np.inf, np.nan
    tiny = (tiny * np.float32(2.0**-126)).astype(np.float32)
    return {
        "spread": (spread, [1]),
        "ragged": (ragged, [0, 1, 2]),
        "infinite": (infinite, [1]),
        "nan": (nan, [1]),
        "tiny": (tiny, [1]),
        "zeros": (np.zeros((2, 32), np.float32), [1]),
    }


def cases(name):
    """The rules, roundings and block shapes of a format."""
    family = "mx" if name.startswith("mx") else "fp8" if name.startswith("fp8") else name
    for rule in quantization.RULES[family]:
        for rounding in ("nearest_even", "stochastic"):
            yield rule, rounding, "vector"
            if name == "nvfp4":
                yield rule, rounding, "square"
    if name == "nvfp4":
        yield "te", "ms_eden", "vector"


def blocks():
    tensors = {}
    for input_name, (values, axes) in inputs().items():
        tensors[f"values.{input_name}"] = values
        for name in quantization.FORMATS:
            for rule, rounding, shape in cases(name):
                for axis in axes:
                    case = f"{name}.{rule}.{rounding}.{shape}.{axis}.{input_name}"
                    with np.errstate(all="ignore"):
                        codes, scales, tensor_scale = quantization.quantize(
                            values, name, axis, rule, rounding, shape == "square", STREAM)
                    tensor_scale = np.array([tensor_scale], "<f4").view(np.uint8)
                    tensors[case] = np.concatenate([codes.reshape(-1), scales.reshape(-1), tensor_scale])
    save_file(tensors, HERE / "blocks.safetensors")


if __name__ == "__main__":
    codecs()
    blocks()
