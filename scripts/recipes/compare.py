"""What each recipe costs in accuracy: `make recipes`, or `compare.py --recipes nvfp4 averis --steps 300 --seeds 3`.

Five measures, all computed by `target/release/tessera`, the first four beside full precision (f32):

- products: the relative error of one linear's product, on activations with a strong mean and on ones without;
- biases: the relative error of one linear's weight gradient, of an activation and a gradient with means, averaged over 1,
  20 and 400 steps, and the slope of the last on the exact one: what random bits average out, and what is left of it;
- gradients: the relative error and the cosine of the gradients of a byte-level Llama, parameter by parameter, at
  checkpoints of one f32 trajectory: steady, since the parameters are the same for all recipes; and the mean's share of the
  energy of the linears' activations there;
- losses: the loss after some steps of training it, its mean over the last steps, for several seeds of parameters, data and
  random rounding: single runs order nothing, which is why mean and spread are printed. The order is held against that of
  the Averis paper (arXiv 2603.10444, Qwen3-0.6B);
- presets: whether every preset trains, 50 steps of the Llama step and some of the mixture of experts.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fixtures" / "jax"))
sys.path.insert(0, str(ROOT / "scripts" / "recipes"))

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

import text as model

TESSERA = ROOT / "target" / "release" / "tessera"
RECIPES = ["bf16", "mxfp8", "mxfp4", "nvfp4", "nvidia", "four-over-six", "quartet2", "averis", "averis-gated",
           "averis-hadamard", "metis", "averis-metis"]
FULL = "f32"
# By the gap to full precision, the smallest first: what the Averis paper reports.
PAPER = ["bf16", "averis-hadamard", "averis", "nvfp4"]


def tessera(step, recipe, *arguments):
    """Runs a step's text under a recipe; `f32` is none."""
    flags = [] if recipe == FULL else ["--recipe", recipe]
    command = [TESSERA, "run", step, *flags, "--quiet", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def lower(function, path, *shapes):
    """The function as StableHLO text, its first argument donated."""
    path.write_text(jax.jit(function, donate_argnums=(0,), keep_unused=True).lower(*shapes).as_text())
    return path


def recipe_file(recipe, seed, folder):
    """The recipe with another seed of its random bits."""
    path = folder / f"{label(recipe)}-{seed}.toml"
    own = pathlib.Path(recipe).read_text() if recipe.endswith(".toml") else f'extends = "{recipe}"\n'
    path.write_text(f"seed = {seed}\n{own}")
    return path


def relative_error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def products(recipes, folder):
    """The relative errors of one linear's product, 1024 x 512 x 512."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1024, 512), np.float32)
    mean = 3 * rng.standard_normal((1, 512), np.float32)
    w = rng.standard_normal((512, 512), np.float32) / 512 ** 0.5
    d = rng.standard_normal((1024, 512), np.float32)
    array = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    step = lower(model.linear_step, folder / "linear.mlir", array(w), {"d": array(d), "x": array(noise)})
    print(f"{'relative error of a product':32} {'with a mean':>12} {'without':>12}")
    for recipe in recipes:
        errors = []
        for x in (noise + mean, noise):
            save_file({"arg0": w, "arg1": d, "arg2": np.ascontiguousarray(x)}, folder / "linear.safetensors")
            tessera(step, one_linear(recipe, folder), "--inputs", folder / "linear.safetensors", "--outputs", folder / "y.safetensors")
            errors.append(relative_error(load_file(folder / "y.safetensors")["result1"], x @ w))
        print(f"  {label(recipe):30} {errors[0]:12.3%} {errors[1]:12.3%}")


def biases(recipes, folder):
    """The errors of a weight gradient averaged over steps: 96 tokens, 64 x 48, means of activation and gradient."""
    rng = np.random.default_rng(0)
    noise = lambda *shape: rng.standard_normal(shape, np.float32)
    x, d = noise(96, 64) + 2 * noise(1, 64), noise(96, 48) + noise(1, 48)
    w = noise(64, 48) / 8
    array = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    step = lower(model.linear_step, folder / "bias.mlir", array(w), {"d": array(d), "x": array(x)})
    save_file({"arg0": w, "arg1": d, "arg2": x}, folder / "bias.safetensors")
    # The step is of a tenth of the gradient.
    exact = 0.1 * (x.T.astype(np.float64) @ d)
    counts = [1, 20, 400]
    print(f"{'error of dW, averaged over':32} " + " ".join(f"{f'{n} steps':>10}" for n in counts) + f" {'slope':>8}")
    for recipe in recipes:
        cells = []
        for steps in counts:
            tessera(step, one_linear(recipe, folder), "--inputs", folder / "bias.safetensors",
                    "--outputs", folder / "bias-out.safetensors", "--steps", steps)
            found = (w.astype(np.float64) - load_file(folder / "bias-out.safetensors")["result0"]) / steps
            cells.append(f"{relative_error(found, exact):10.2%}")
        slope = float((found * exact).sum() / (exact * exact).sum())
        print(f"  {label(recipe):30} " + " ".join(cells) + f" {slope:8.4f}")


def label(recipe):
    """The name of a preset or file."""
    return pathlib.Path(recipe).stem if recipe.endswith(".toml") else recipe


def one_linear(recipe, folder):
    """The recipe without exceptions: the only linear is the last one too."""
    if recipe == FULL:
        return recipe
    path = folder / f"{label(recipe)}-all.toml"
    own = pathlib.Path(recipe).read_text() if recipe.endswith(".toml") else f'extends = "{recipe}"\n'
    path.write_text(f"{own}[keep]\nfirst_linears = 0\nlast_linears = 0\nfirst_fraction = 0\nlast_fraction = 0\n")
    return path


def inputs(folder, seed, text, specs, state, batch):
    """The first state of a seed, as the files of inputs that `tessera run` takes."""
    leaves, _ = jax.tree_util.tree_flatten_with_path((state, batch))
    parameters = iter(specs)
    lines = []
    for number, (path, _) in enumerate(leaves):
        name = jax.tree_util.keystr(path)
        if "'params'" in name:
            spec = re.sub(r"seed=\d+", f"seed={seed}", next(parameters))
        elif "'text'" in name:
            save_file({f"arg{number}": text}, folder / "text.safetensors")
            continue
        else:
            spec = f"splat({seed})" if "'seed'" in name else "zeros"
        lines.append(f'arg{number} = "{spec}"\n')
    toml = folder / f"inputs-{seed}.toml"
    toml.write_text("".join(lines))
    return ["--inputs", toml, "--inputs", folder / "text.safetensors"]


def gradients(recipes, folder, text, checkpoints):
    """Relative error and cosine of the gradients at checkpoints of one f32 trajectory."""
    state, batch, specs = model.shapes()
    step = lower(model.train_step, folder / "text.mlir", state, batch)
    counted = {"seed": batch["seed"], "step": jax.ShapeDtypeStruct((), np.int32), "text": batch["text"]}
    probe = lower(model.gradient_step, folder / "gradient.mlir", state["params"], counted)
    count = len(jax.tree.leaves(state["params"]))
    first = len(jax.tree.leaves(state["opt_state"]))
    print(f"{'gradients against f32':24} " + " ".join(f"{f'after {n}':>22}" for n in checkpoints))
    found = {recipe: [] for recipe in recipes}
    shares = []
    for steps in checkpoints:
        arguments = inputs(folder, 1, text, specs, state, batch)
        tessera(step, FULL, *arguments, "--steps", max(steps, 1), "--outputs", folder / "state.safetensors")
        saved = load_file(folder / "state.safetensors")
        values = {f"arg{n}": saved[f"result{first + n}"] for n in range(count)}
        values |= {f"arg{count}": np.uint32(1), f"arg{count + 1}": np.int32(steps), f"arg{count + 2}": text}
        save_file({name: np.asarray(value) for name, value in values.items()}, folder / "probe.safetensors")
        leaves = [values[f"arg{n}"] for n in range(count)]
        tokens = model.pieces(text, np.uint32(steps), np.uint32(1), model.CONFIG)
        shares.append(model.mean_shares(jax.tree.unflatten(jax.tree.structure(state["params"]), leaves), tokens))
        exact = None
        for recipe in [FULL, *recipes]:
            tessera(probe, recipe, "--inputs", folder / "probe.safetensors", "--outputs", folder / "g.safetensors")
            results = load_file(folder / "g.safetensors")
            own = [results[f"result{count + n}"].ravel() for n in range(count)]
            if recipe == FULL:
                exact = own
                continue
            errors = [relative_error(a, b) for a, b in zip(own, exact)]
            cosines = [float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in zip(own, exact)]
            found[recipe].append((statistics.median(errors), min(cosines)))
    for recipe in recipes:
        cells = [f"{error:9.2%} cosine {cosine:.3f}" for error, cosine in found[recipe]]
        print(f"  {label(recipe):22} " + " ".join(f"{cell:>22}" for cell in cells))
    cells = [f"{statistics.median(own):.0%} (max {max(own):.0%})" for own in shares]
    print(f"  {'share of the mean':22} " + " ".join(f"{cell:>22}" for cell in cells))
    print("  (median over parameters of the relative error; the least cosine of a parameter; of the linears' activations the"
          " mean's share of the energy, median)")


def losses(recipes, folder, text, steps, seeds):
    """The gap of the mean loss of the last sixth of the steps to f32's, by seed."""
    state, batch, specs = model.shapes()
    step = lower(model.train_step, folder / "text.mlir", state, batch)
    last = max(1, steps // 6)
    mean = {recipe: [] for recipe in [FULL, *recipes]}
    for seed in range(1, seeds + 1):
        arguments = inputs(folder, seed, text, specs, state, batch)
        for recipe in mean:
            own = recipe if recipe == FULL else recipe_file(recipe, seed, folder)
            log = folder / "log.jsonl"
            tessera(step, own, *arguments, "--steps", steps, "--log", log)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            loss = f"result{len(jax.tree.leaves(state))}"
            mean[recipe].append(statistics.fmean(line[loss] for line in lines[-last:]))
            print(f"seed {seed}, {recipe}: {mean[recipe][-1]:.4f}", file=sys.stderr)
    print(f"{f'loss, steps {steps - last + 1} to {steps}':24} {'mean':>8} {'gap to f32':>11} {'spread':>8}   by seed")
    for recipe, own in mean.items():
        gaps = [a - b for a, b in zip(own, mean[FULL])]
        spread = statistics.stdev(gaps) if seeds > 1 else 0.0
        each = " ".join(f"{gap:+.4f}" for gap in gaps)
        print(f"  {label(recipe):22} {statistics.fmean(own):8.4f} {statistics.fmean(gaps):+11.4f} {spread:8.4f}   {each}")
    compared = [recipe for recipe in PAPER if recipe in mean]
    if len(compared) > 1:
        own = sorted(compared, key=lambda recipe: statistics.fmean(mean[recipe]))
        print(f"  order in the paper: {' < '.join(compared)}; here: {' < '.join(own)}")


def presets(steps, folder):
    """The first and last loss of every preset on the Llama step, and of three on the mixture of experts."""
    listed = subprocess.run([TESSERA, "recipe", "list"], check=True, capture_output=True, text=True).stdout
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    runs = [("llama", name) for name in [FULL, *names]] + [("moe", name) for name in [FULL, "averis", "metis", "nvidia"]]
    print(f"{f'{steps} steps':8} {'recipe':18} {'first loss':>10} {'last loss':>10} {'s a step':>9}")
    for step, recipe in runs:
        fixture = ROOT / "tests" / "fixtures" / "steps" / step
        report = folder / "report.json"
        tessera(fixture / "step.mlir", recipe, "--inputs", fixture / "inputs.toml", "--steps", steps, "--report", report)
        figures = json.loads(report.read_text())
        losses = [scalars[-1] for scalars in figures["scalars"]]
        seconds = statistics.median(figures["step_seconds"][1:])
        trains = "" if losses[-1] < losses[0] else "   does not train"
        print(f"{step:8} {recipe:18} {losses[0]:10.4f} {losses[-1]:10.4f} {seconds:9.3f}{trains}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="presets, or TOML files without [keep]")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[1, 100, 300])
    parser.add_argument("--only", choices=["products", "biases", "gradients", "losses", "presets"])
    arguments = parser.parse_args()
    text = model.read()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if arguments.only in (None, "products"):
            products(arguments.recipes, folder)
        if arguments.only in (None, "biases"):
            biases(arguments.recipes, folder)
        if arguments.only in (None, "gradients"):
            gradients(arguments.recipes, folder, text, arguments.checkpoints)
        if arguments.only in (None, "losses"):
            losses(arguments.recipes, folder, text, arguments.steps, arguments.seeds)
        if arguments.only in (None, "presets"):
            presets(50, folder)


if __name__ == "__main__":
    main()
