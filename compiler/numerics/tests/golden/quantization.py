"""Block scaling written out in numpy with ml_dtypes' casts, from the formats' and the libraries' own texts.

Arithmetic is f32, in the order that each rule's source has. A tensor is taken in the order of storage: the axis last.
"""

import math

import ml_dtypes
import numpy as np

F32 = np.float32
LARGEST = np.finfo(F32).max

# Element formats: the type, the mantissa's bits, the least normal number's exponent, the code of NaN.
E2M1 = (ml_dtypes.float4_e2m1fn, 1, 0, 0x7)
E2M3 = (ml_dtypes.float6_e2m3fn, 3, 0, 0x1F)
E3M2 = (ml_dtypes.float6_e3m2fn, 2, -2, 0x1F)
E4M3 = (ml_dtypes.float8_e4m3fn, 3, -6, 0x7F)
E5M2 = (ml_dtypes.float8_e5m2, 2, -14, 0x7E)

# Formats: the element, the block's length.
FORMATS = {
    "nvfp4": (E2M1, 16),
    "mxfp4": (E2M1, 32),
    "mxfp6_e2m3": (E2M3, 32),
    "mxfp6_e3m2": (E3M2, 32),
    "mxfp8_e4m3": (E4M3, 32),
    "mxfp8_e5m2": (E5M2, 32),
    "fp8_e4m3": (E4M3, None),
    "fp8_e5m2": (E5M2, None),
}
RULES = {"nvfp4": ("te", "torchao", "four_over_six"), "mx": ("rceil", "floor", "even", "ceil"), "fp8": ("te",)}


def largest(element):
    return F32(ml_dtypes.finfo(element[0]).max)


def encode(element, values):
    """Nearest codes, as PTX's `cvt.rn.satfinite`: clamped to the range, NaN to the format's code for it."""
    bound = largest(element)
    codes = np.clip(np.nan_to_num(values, nan=0, posinf=bound, neginf=-bound), -bound, bound)
    codes = codes.astype(element[0]).view(np.uint8)
    return np.where(np.isnan(values), np.uint8(element[3]), codes)


def decode(element, codes):
    return codes.astype(np.uint8).view(element[0]).astype(F32)


def step(element, magnitudes):
    """The distance of the element's numbers at a magnitude."""
    _, exponents = np.frexp(magnitudes)
    exponents = np.where(magnitudes == 0, element[2], np.maximum(exponents - 1, element[2]))
    return np.ldexp(F32(1), exponents - element[1]).astype(F32)


def encode_stochastic(element, values, random):
    """TransformerEngine's `stochastic_round_fp4_e2m1`, with the element's own steps: |x| plus a random part of the step,
    down to a multiple of the step there. `random` are bytes."""
    magnitudes = np.minimum(np.abs(np.nan_to_num(values, nan=0)), largest(element))
    moved = magnitudes + random.astype(F32) / F32(256) * step(element, magnitudes)
    distance = step(element, moved)
    rounded = np.copysign(np.minimum(np.floor(moved / distance) * distance, largest(element)), values)
    return np.where(np.isnan(values), np.uint8(element[3]), rounded.astype(element[0]).view(np.uint8))


def philox(counters, key):
    """Philox-4x32-10 (Salmon et al., SC 2011): counters of shape (…, 4) to words of that shape."""
    c = [counters[..., i].astype(np.uint64) for i in range(4)]
    k = [np.uint64(word) for word in key]
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> shift) ^ c[1] ^ k[0], b & low, (a >> shift) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return np.stack(c, axis=-1).astype(np.uint32)


def random_words(count, stream):
    """The four words of each of so many groups of sixteen elements; `stream` is (seed, step, site)."""
    seed, step, site = stream
    numbers = np.arange(count, dtype=np.uint64)
    rest = np.broadcast_to(np.array([step, site], np.uint64), (count, 2))
    counters = np.concatenate([np.stack([numbers & np.uint64(0xFFFFFFFF), numbers >> np.uint64(32)], -1), rest], -1)
    return philox(counters, (seed & 0xFFFFFFFF, seed >> 32))


def tensor_scale(name, rule, rounding, amax):
    """What numbers are multiplied by before block scales are made, and on their way back."""
    one = (F32(1), F32(1))
    if name.startswith("mx"):
        return one
    if name.startswith("fp8"):
        if amax == 0 or not np.isfinite(amax):
            return one
        encoding = np.minimum(largest(FORMATS[name][0]) / amax, LARGEST)
        return encoding, F32(1) / encoding
    if np.isnan(amax):
        return F32(np.nan), F32(np.nan)
    if rounding == "ms_eden" or rule == "torchao":
        decoding = amax / F32(255.99) / EDEN_LARGEST if rounding == "ms_eden" else amax / F32(448 * 6)
        decoding = F32(1) if decoding == 0 else decoding
        return F32(1) / decoding, decoding
    encoding = np.minimum(F32({"te": 448 * 6, "four_over_six": 256 * 6}[rule]) / amax, LARGEST)
    if amax == 0 or encoding == 0:
        encoding = F32(1)
    return encoding, F32(1) / encoding


# Quartet II: 6 over its scale's 17/16 times 0.93.
EDEN_LARGEST = F32(6) / (F32(17) / F32(16) * F32(0.93))


def power_of_two_scales(rule, element, block_amax):
    """The mx formats' codes of scales: OCP's `floor`, torchao's `even` and `ceil`, `rceil` as `cvt.rp.ue8m0x2`."""
    codes = np.zeros(block_amax.shape, np.uint8)
    top = math.floor(math.log2(largest(element)))
    for index, amax in np.ndenumerate(block_amax):
        if np.isnan(amax):
            codes[index] = 0xFF
            continue
        if rule == "rceil":
            wanted = float(F32(amax) / largest(element))
            exponent = math.inf if math.isinf(wanted) else -math.inf if wanted == 0 else math.ceil(math.log2(wanted))
        elif np.isinf(amax):
            exponent = 128 - top  # The exponent field of infinity.
        elif amax == 0:
            exponent = -math.inf
        else:
            fraction, exponent = math.frexp(float(amax))
            fraction, exponent = 2 * fraction, exponent - 1
            if rule == "even":
                # To the elements' mantissa, half up: the one tie that carries into the exponent goes to even by going up.
                exponent += math.floor(fraction * 2 ** element[1] + 0.5) == 2 ** (element[1] + 1)
            elif rule == "ceil":
                exponent += fraction > 1
            exponent -= top
        codes[index] = max(-127, min(127, exponent)) + 127
    return codes


def nvfp4_scales(rule, blocks, block_amax, amax, scale, is_square):
    """The codes of block scales and the factors of their elements."""
    encoding, decoding = scale
    to_code = lambda wanted: encode(E4M3, wanted) & 0x7F
    te_factor = lambda code: np.fmin(F32(1) / (decode(E4M3, code) * (F32(1) / encoding)), LARGEST)
    if rule == "torchao":
        code = to_code(np.clip(block_amax / F32(6) / decoding, F32(2.0**-6), F32(448)))
        return code, np.fmin(encoding / decode(E4M3, code), LARGEST)
    if rule == "te":
        code = to_code(block_amax * (encoding * (F32(1) / F32(6))))
        return code, te_factor(code)
    base = block_amax / F32(6) * encoding
    codes = [to_code(base), to_code(base * F32(1.5))]
    errors = []
    for code in codes:
        elements = decode(E2M1, encode(E2M1, blocks * te_factor(code)[..., None]))
        error = np.abs(elements * decode(E4M3, code)[..., None] * amax / F32(6 * 256) - blocks)
        if is_square:
            square = error.reshape(*error.shape[:-1], 16, 16)
            error = in_order(square, -1), in_order(square, -2)
            errors.append(in_order(error[0], -1) + in_order(error[1], -1))
        else:
            errors.append(in_order(error, -1))
    code = np.where(errors[1] < errors[0], codes[1], codes[0])
    return code, te_factor(code)


def in_order(numbers, axis):
    """The sum along an axis, one number after the other."""
    total = np.zeros(numbers.sum(axis).shape, F32)
    for number in np.moveaxis(numbers, axis, 0):
        total = total + number
    return total


def ms_eden(rows, scale, stream):
    """Quartet II's: scales rounded at random after a correction per 128 elements. Codes, scales."""
    decoding = scale[1]
    blocks = rows.reshape(rows.shape[0], -1, 16)
    wanted = np.abs(blocks).max(-1) / EDEN_LARGEST / decoding
    scales = decode(E4M3, encode(E4M3, wanted) & 0x7F)
    scales = np.where(scales == 0, F32(1), scales)
    scaled = blocks * np.fmin(F32(1) / (scales * decoding), LARGEST)[..., None]
    codes = encode(E2M1, scaled)
    corrected = scales.copy()
    for first in range(0, blocks.shape[1], 8):
        group = slice(first, first + 8)
        squares = products = np.zeros(rows.shape[0], F32)
        for x, q in zip(np.moveaxis(scaled[:, group].reshape(len(rows), -1), -1, 0),
                        np.moveaxis(decode(E2M1, codes[:, group]).reshape(len(rows), -1), -1, 0)):
            squares, products = squares + x * x, products + x * q
        correction = squares / products
        correction = np.where(np.isfinite(correction), correction, F32(1))
        corrected[:, group] = scales[:, group] * correction[:, None]
    words = random_words(corrected.size, stream)[:, 0].reshape(corrected.shape)
    grid = decode(E4M3, np.arange(0x7F, dtype=np.uint8))
    below = np.clip(np.searchsorted(grid, corrected, side="right") - 1, 0, 0x7D)
    part = (corrected - grid[below]) / (grid[below + 1] - grid[below])
    rounded = below + ((words >> 8).astype(F32) * F32(2.0**-24) < part)
    rounded = np.where(corrected >= 448, 0x7E, np.where(np.isnan(corrected), 0x7F, rounded))
    return codes.reshape(rows.shape), rounded.astype(np.uint8)


def quantize(values, name, axis, rule, rounding, is_square, stream):
    """Codes as the crate stores them, block scales row by row, the tensor scale."""
    element, length = FORMATS[name]
    stored = np.moveaxis(values, axis, -1)
    columns, height = stored.shape[-1], stored.shape[-2] if stored.ndim > 1 else 1
    padding = -columns % length if length else 0
    rows = np.pad(stored, [(0, 0)] * (stored.ndim - 1) + [(0, padding)]).reshape(-1, columns + padding)
    amax = np.abs(values).max()
    scale = tensor_scale(name, rule, rounding, amax)
    if rounding == "ms_eden":
        codes, scales = ms_eden(rows, scale, stream)
    else:
        if length is None:
            scales, factors = np.zeros((len(rows), 0), np.uint8), np.full((len(rows), 1), scale[0])
        elif name == "nvfp4":
            blocks = rows.reshape(len(rows), -1, length)
            if is_square:
                blocks = squares(rows, height, length)
            scales, factors = nvfp4_scales(rule, blocks, np.abs(blocks).max(-1), amax, scale, is_square)
        else:
            scales = power_of_two_scales(rule, element, np.abs(rows.reshape(len(rows), -1, length)).max(-1))
            # A block that is NaN has the factor of the largest scale.
            factors = np.ldexp(F32(1), 127 - np.minimum(scales, 0xFE).astype(int)).astype(F32)
        scaled = rows * np.repeat(factors, length or columns, axis=1)
        if rounding == "stochastic":
            groups = -(-scaled.size // 16)
            random = random_words(groups, stream).astype("<u4").view(np.uint8).reshape(-1)[: scaled.size]
            codes = encode_stochastic(element, scaled, random.reshape(scaled.shape))
        else:
            codes = encode(element, scaled)
    codes[:, columns:] = 0
    if element is E2M1:
        codes = codes[:, 0::2] | codes[:, 1::2] << 4
    return codes, scales, scale[1]


def squares(rows, height, length):
    """For each block of a row the elements of the square of 16 × 16 that it is in, zeros where that ends."""
    matrices = rows.reshape(-1, height, rows.shape[1])
    padded = np.pad(matrices, [(0, 0), (0, -height % length), (0, 0)])
    cut = padded.reshape(len(padded), -1, length, rows.shape[1] // length, length)
    whole = np.moveaxis(cut, 2, 3).reshape(len(padded), cut.shape[1], cut.shape[3], length * length)
    return np.repeat(whole, length, axis=1)[:, :height].reshape(len(rows), -1, length * length)
