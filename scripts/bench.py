"""Step and compile times of Tessera beside XLA's on the CPU, in one run; then steps under recipes, 4-bit
products, and quantisation.

Both sides take the same StableHLO text and the same inputs, use every core, and feed the state back. They take turns,
round by round, since a shared machine's speed drifts: a ratio is made of figures of one round, and the median of the
rounds' ratios is printed. XLA starts from the text too: parse, compile, then steps with donated state.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["JAX_PLATFORMS"] = "cpu"

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = ROOT / "tests" / "fixtures" / "steps"
sys.path.insert(0, str(ROOT / "tests" / "fixtures" / "jax"))
sys.path.insert(0, str(ROOT / "scripts" / "recipes"))

RECIPES = ["nvfp4", "averis", "averis-hadamard", "nvidia", "metis"]
# Those that scripts/recipes/emulation.py has.
EMULATED = ["nvfp4", "averis"]


def tessera(name, steps, recipe=None):
    """One run of the command: compile seconds, seconds of each step, last loss."""
    step = STEPS / name
    flags = ["--recipe", recipe] if recipe else []
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run(
            [ROOT / "target" / "release" / "tessera", "run", step / "step.mlir", "--inputs", step / "inputs.toml",
             "--steps", str(steps), "--report", report.name, "--quiet", *flags],
            check=True, stdout=subprocess.DEVNULL)
        figures = json.load(open(report.name))
    return figures["compile_seconds"], figures["step_seconds"], figures["scalars"][-1]


def xla(name, steps):
    """The same of XLA, through JAX, on the same text."""
    import jax
    import make_fixtures

    lowered, (state, batch), _ = make_fixtures.lower(name)
    started = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - started
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        state, loss = compiled(state, batch)
        jax.block_until_ready((state, loss))
        seconds.append(time.perf_counter() - started)
    return compile_seconds, seconds, float(loss)


def emulation(name, recipe):
    """The recipe as fake quantisation in JAX, compiled: a function that gives the seconds of each of so many steps."""
    import jax
    import emulation as emulated
    import llama
    import make_fixtures
    import optax

    config = llama.CONFIGS[name]
    _, (state, batch), _ = make_fixtures.lower(name)
    _, optimizer = llama.make_train_step(config)

    def train_step(state, batch):
        loss, gradients = jax.value_and_grad(llama.loss_fn)(state["params"], batch, config, emulated.LINEARS[recipe])
        updates, opt_state = optimizer.update(gradients, state["opt_state"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}, loss

    compiled = jax.jit(train_step, donate_argnums=(0,)).lower(state, batch).compile()

    def run(steps):
        nonlocal state
        seconds = []
        for _ in range(steps):
            started = time.perf_counter()
            state, loss = compiled(state, batch)
            jax.block_until_ready((state, loss))
            seconds.append(time.perf_counter() - started)
        return seconds

    return run


def named_step(name, folder):
    """The step's text with the parameters' names, by which recipes tell layers: as it is, they are `arg0`, `arg1`, …"""
    import make_fixtures

    path = pathlib.Path(folder, f"{name}.mlir")
    path.write_text(make_fixtures.lower(name)[0].as_text(debug_info=True))
    return path


def bundle(step, recipe, folder):
    """The step under a recipe, compiled."""
    path = pathlib.Path(folder, f"{recipe}.tessera")
    flags = ["--recipe", recipe] if recipe else []
    subprocess.run([ROOT / "target" / "release" / "tessera", "compile", step, *flags, "-o", path],
                   check=True, stdout=subprocess.DEVNULL)
    return path


def recipes(name, pairs, rounds, steps=5):
    """Steps under recipes beside the full-precision step, nvfp4's, and the recipe emulated in JAX.

    A shared machine's speed moves by more than recipes differ. So bundles are compiled before, and run a few steps each in
    turns, forwards and backwards, of which the fastest step counts; a ratio is made of two runs of one turn, and the median of
    these is printed with the quartiles."""
    with tempfile.TemporaryDirectory() as folder:
        step = named_step(name, folder)
        bundles = {recipe: bundle(step, recipe, folder) for recipe in (None, *RECIPES)}
        flags = ["--inputs", STEPS / name / "inputs.toml", "--steps", str(steps), "--quiet"]

        def seconds(recipe):
            report = pathlib.Path(folder, "report.json")
            subprocess.run([ROOT / "target" / "release" / "tessera", "run", bundles[recipe], *flags, "--report", report],
                           check=True, stdout=subprocess.DEVNULL)
            return min(json.loads(report.read_text())["step_seconds"][1:])

        own = {recipe: [] for recipe in bundles}
        for turn in range(pairs):
            order = list(bundles) if turn % 2 == 0 else list(reversed(bundles))
            for recipe in order:
                own[recipe].append(seconds(recipe))
        peer = {recipe: [] for recipe in EMULATED}
        for recipe in EMULATED:
            emulated = emulation(name, recipe)
            emulated(1)
            for _ in range(rounds):
                peer[recipe].append((min(emulated(steps - 1)), seconds(recipe)))

    def ratio(above, below):
        ratios = [a / b for a, b in zip(above, below)]
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else 3 * ratios
        first, middle, last = quartiles
        return f"{middle:5.2f} ({first:.2f} … {last:.2f})"

    print(f"recipes: {pairs} turns, the fastest of {steps} steps each; ratios of one turn, median and quartiles")
    for recipe in RECIPES:
        line = f"{name:6} {recipe:15} {statistics.median(own[recipe]):8.3f} s   of f32's {ratio(own[recipe], own[None])}"
        if recipe != "nvfp4":
            line += f"   of nvfp4's {ratio(own[recipe], own['nvfp4'])}"
        if recipe in peer:
            emulated, beside = zip(*peer[recipe])
            line += f"   JAX emulation {statistics.median(emulated):8.3f} s, {ratio(emulated, beside)} times as long"
        print(line)


def products():
    """Products of nvfp4 matrices beside f32 ones: ours by `cargo bench`, and OpenBLAS' through numpy."""
    import numpy as np

    subprocess.run(["cargo", "bench", "--locked", "--quiet", "-p", "tessera-runtime", "--bench", "scaled_dot"], cwd=ROOT, check=True)
    for m, n, k in ((1024, 1024, 1024), (4096, 1024, 1024)):
        a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        seconds = []
        for _ in range(10):
            started = time.perf_counter()
            a @ b
            seconds.append(time.perf_counter() - started)
        print(f"{m}x{n}x{k}   numpy's f32 {min(seconds) * 1e3:8.2f} ms, {m * n * k / min(seconds) * 1e-9:6.1f} G multiply-adds/s")


def quantisation():
    """Centring and quantising beside a copy of the same tensor, as `cargo bench` times them."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["cargo", "bench", "--locked", "--quiet", "-p", "tessera-numerics", "--bench", "quantize", "--",
             "memcpy|centred", "--noplot", "--measurement-time", "2", "--warm-up-time", "1"],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "CRITERION_HOME": folder})
        rates = {}
        for case in pathlib.Path(folder, "quantize").iterdir():
            seconds = json.load(open(case / "new" / "estimates.json"))["median"]["point_estimate"] * 1e-9
            rates[case.name] = json.load(open(case / "new" / "benchmark.json"))["throughput"]["Bytes"] / seconds
    for threads, suffix in [("one thread", ""), ("all threads", ", all threads")]:
        copy = rates["memcpy" + suffix]
        print(f"copy of 4096x4096 f32, {threads:12}{copy * 1e-9:6.1f} GB/s read and written")
        for direction in ("rows", "columns", "both"):
            rate = rates[f"nvfp4 {direction} centred{suffix}"]
            print(f"centre and quantise, {direction:8}  {threads:12}{rate * 1e-9:6.1f} GB/s, {rate / copy:4.0%} of the copy")


def extraction(rows=2048, columns=2048, steps=9):
    """The mean that Averis extracts of a tensor, beside the Hadamard transform of the same."""
    signs = [1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1]
    tensor, mean = f"tensor<{rows}x{columns}xf32>", f"tensor<{columns}xf32>"
    text = f"""module @extraction {{
  func.func public @main(%arg0: {tensor}) -> ({mean}, {tensor}) {{
    %0 = tsr.column_mean %arg0 {{dimensions = [0]}} : ({tensor}) -> {mean}
    %1 = tsr.hadamard %arg0 {{axis = 1, signs = {signs}}} : {tensor}
    return %0, %1 : {mean}, {tensor}
  }}
}}
"""
    with tempfile.TemporaryDirectory() as folder:
        step, inputs = pathlib.Path(folder, "step.mlir"), pathlib.Path(folder, "inputs.toml")
        step.write_text(text)
        inputs.write_text('arg0 = "normal(std=1, seed=1)"\n')
        run = subprocess.run(
            [ROOT / "target" / "release" / "tessera", "run", step, "--inputs", inputs, "--steps", str(steps), "--profile"],
            check=True, capture_output=True, text=True)
    # A line of the profile: the kernel's name, its launches, milliseconds, a share.
    lines = [line.split() for line in (run.stdout + run.stderr).splitlines()]
    milliseconds = {words[0]: float(words[2]) for words in lines if len(words) == 4 and words[3].endswith("%")}
    figure = lambda word: sum(time for name, time in milliseconds.items() if word in name)
    mean, hadamard = figure("column"), figure("hadamard")
    print(f"{rows}x{columns}: mean {mean:.2f} ms, Hadamard transform of 16 {hadamard:.2f} ms, {hadamard / mean:.1f} times as long")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="steps a round; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=12, help="turns of the recipes' steps")
    parser.add_argument("--full-precision", action="store_true", help="no recipes, no scaled products")
    parser.add_argument("names", nargs="*", default=["llama", "moe"])
    arguments = parser.parse_args()

    print(f"{os.cpu_count()} cores, {arguments.rounds} rounds of {arguments.steps} steps, medians")
    for name in arguments.names:
        rounds = [(tessera(name, arguments.steps), xla(name, arguments.steps)) for _ in range(arguments.rounds)]
        step = [[statistics.median(side[1][1:]) for side in pair] for pair in rounds]
        compiling = [[side[0] for side in pair] for pair in rounds]
        for what, figures in (("step", step), ("compile", compiling)):
            ours, theirs = (statistics.median(column) for column in zip(*figures))
            ratio = statistics.median(a / b for a, b in figures)
            print(f"{name:6} {what:8} tessera {ours:8.3f} s   xla {theirs:8.3f} s   tessera/xla {ratio:6.2f}")
    if not arguments.full_precision:
        recipes("llama", arguments.pairs, arguments.rounds)
        products()
        quantisation()
        extraction()


if __name__ == "__main__":
    main()
