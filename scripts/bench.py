"""Step and compile times of Tessera beside XLA's on the CPU, in one run.

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


def tessera(name, steps):
    """One run of the command: compile seconds, seconds of each step, last loss."""
    step = STEPS / name
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run(
            [ROOT / "target" / "release" / "tessera", "run", step / "step.mlir", "--inputs", step / "inputs.toml",
             "--steps", str(steps), "--report", report.name, "--quiet"],
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="steps a round; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
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


if __name__ == "__main__":
    main()
