"""The recipes nvfp4 and averis as they are usually tried out: fake quantisation in plain JAX.

Operands are rounded to the numbers that NVFP4 has and multiplied in f32, as a researcher without a compiler for this
would write it. It is the peer that `make bench` times the compiled recipes beside."""

import functools

import jax
import jax.numpy as jnp

BLOCK = 16
E4M3 = 448.0


def fake_quantize(x, axis, key=None):
    """`x` rounded to NVFP4 with blocks along an axis, by TransformerEngine's rule; stochastically where a key is given."""
    moved = jnp.moveaxis(x, axis, -1)
    padding = -moved.shape[-1] % BLOCK
    padded = jnp.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, padding)])
    blocks = padded.reshape(*padded.shape[:-1], -1, BLOCK)
    largest = jnp.max(jnp.abs(x))
    encode = jnp.where(largest > 0, E4M3 * 6 / largest, 1.0)
    scale = jnp.max(jnp.abs(blocks), axis=-1, keepdims=True) * (encode / 6)
    scale = jnp.minimum(scale, E4M3).astype(jnp.float8_e4m3fn).astype(jnp.float32)
    factor = jnp.where(scale > 0, encode / scale, 0.0)
    scaled = jnp.clip(jnp.abs(blocks * factor), 0, 6)
    step = jnp.where(scaled < 2, 0.5, jnp.where(scaled < 4, 1.0, 2.0))
    if key is None:
        rounded = jnp.round(scaled / step) * step
    else:
        rounded = jnp.floor(scaled / step + jax.random.uniform(key, scaled.shape)) * step
    values = jnp.sign(blocks) * jnp.minimum(rounded, 6) * scale / encode
    values = values.reshape(padded.shape)[..., : moved.shape[-1]]
    return jnp.moveaxis(values, -1, axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def linear(x, w, centred):
    return forward(x, w, centred)[0]


def split(x, centred):
    """The mean over the tokens, rounded to bfloat16, and what is left."""
    if not centred:
        return None, x
    mean = jnp.mean(x, axis=0, keepdims=True).astype(jnp.bfloat16).astype(jnp.float32)
    return mean, x - mean


def forward(x, w, centred):
    rows = x.reshape(-1, x.shape[-1])
    mean, rest = split(rows, centred)
    weight = fake_quantize(w, 0)
    y = fake_quantize(rest, 1) @ weight
    if centred:
        y = y + mean @ weight
    return y.reshape(*x.shape[:-1], w.shape[1]), (x, w)


def backward(centred, saved, gradient):
    x, w = saved
    rows = x.reshape(-1, x.shape[-1])
    d = gradient.reshape(-1, gradient.shape[-1])
    # The bits of a step's rounding: any that change from step to step will do for an emulation.
    seed = jax.lax.bitcast_convert_type(jnp.sum(d), jnp.uint32)
    first, second = jax.random.split(jax.random.key(seed))
    dx = fake_quantize(d, 1, first) @ fake_quantize(w, 1).T
    mean, rest = split(rows, centred)
    tokens = fake_quantize(d, 0, second)
    dw = fake_quantize(rest, 0).T @ tokens
    if centred:
        dw = dw + mean.T @ jnp.sum(tokens, axis=0, keepdims=True)
    return dx.reshape(x.shape), dw


linear.defvjp(forward, backward)

LINEARS = {
    "nvfp4": lambda x, w: linear(x, w, False),
    "averis": lambda x, w: linear(x, w, True),
}
