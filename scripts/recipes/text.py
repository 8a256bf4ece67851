"""The models that recipes are compared on: a byte-level Llama that reads sources of JAX, and one linear.

The text is that of a pinned release, so figures can be had again. The embedding begins with a mean as large as its spread,
so that the activations of all layers have one from the first step on, as those of large trained models do.

The text is an input of the step, and each step takes other pieces of it, by the optimizer's counter and a seed that is
an input too: so one compiled step trains for any number of steps, on any draw of the data."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

import llama

CONFIG = llama.Config(layers=4, width=192, heads=4, feed_forward=512, vocabulary=256,
                      batch=8, sequence=128, tied=False, learning_rate=2e-3)
# Bytes of text.
LENGTH = 1 << 18


def read():
    """The first bytes of the sources of jax.numpy, in the order of their paths."""
    folder = pathlib.Path(jax.__file__).parent / "_src" / "numpy"
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    if len(text) < LENGTH:
        raise RuntimeError(f"expected {LENGTH} bytes of text, found {len(text)}")
    return np.frombuffer(text[:LENGTH], np.uint8)


def pieces(text, step, seed, config):
    """`batch` pieces of `sequence` bytes and each one's successor. The places are those of a Weyl sequence, the fractional
    parts of multiples of the golden ratio, which cover the text evenly."""
    golden = jnp.uint32(0x9E3779B9)
    rows = jnp.arange(config.batch, dtype=jnp.uint32)
    number = step.astype(jnp.uint32) * jnp.uint32(config.batch) + rows + seed * jnp.uint32(7919)
    spread = (number * golden) >> jnp.uint32(8)
    starts = (spread % jnp.uint32(LENGTH - config.sequence - 1)).astype(jnp.int32)
    taken = text[starts[:, None] + jnp.arange(config.sequence + 1)].astype(jnp.int32)
    return {"inputs": taken[:, :-1], "targets": taken[:, 1:]}


def train_step(state, batch, linear=jnp.matmul):
    """A step of AdamW; the loss."""
    tokens = pieces(batch["text"], state["opt_state"][0].count, batch["seed"], CONFIG)
    loss, gradients = jax.value_and_grad(llama.loss_fn)(state["params"], tokens, CONFIG, linear)
    updates, opt_state = optimizer().update(gradients, state["opt_state"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    return {"params": params, "opt_state": opt_state}, loss


def gradient_step(params, batch):
    """A step of plain descent, whose results show the gradients."""
    tokens = pieces(batch["text"], batch["step"], batch["seed"], CONFIG)
    gradients = jax.grad(llama.loss_fn)(params, tokens, CONFIG)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), gradients


def linear_step(w, batch):
    """One linear and its weight's descent along a given gradient; its result."""
    def weighted(w):
        y = batch["x"] @ w
        return jnp.sum(y * batch["d"]), y
    gradient, y = jax.grad(weighted, has_aux=True)(w)
    return w - 0.1 * gradient, y


def mean_shares(params, tokens):
    """Of each linear's activations X: the mean's share of the energy, l |mean|^2 / ||X||^2."""
    shares = []

    def linear(x, w):
        rows = x.reshape(-1, x.shape[-1])
        shares.append(float(rows.shape[0] * jnp.sum(jnp.mean(rows, axis=0) ** 2) / jnp.sum(rows**2)))
        return x @ w

    llama.loss_fn(params, tokens, CONFIG, linear)
    return shares


def optimizer():
    return optax.adamw(CONFIG.learning_rate, b1=0.9, b2=0.95, weight_decay=0.1)


def shapes():
    """The state's and the batch's shapes, and the parameters' initialisers."""
    is_leaf = lambda x: isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], str)
    parameters, _ = llama.inputs(CONFIG)
    parameters["embedding"] = (parameters["embedding"][0], "normal(mean=0.02, std=0.02, seed=1)")
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf[0], np.float32), parameters, is_leaf=is_leaf)
    specs = [leaf[1] for leaf in jax.tree.leaves(parameters, is_leaf=is_leaf)]
    state = {"params": params, "opt_state": jax.eval_shape(optimizer().init, params)}
    batch = {"seed": jax.ShapeDtypeStruct((), np.uint32), "text": jax.ShapeDtypeStruct((LENGTH,), np.uint8)}
    return state, batch, specs
