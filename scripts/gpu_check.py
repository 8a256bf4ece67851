"""Times of kernels on a GPU beside the least that its chip takes for their bytes and operations.

A linear's three products, with the recipes that quantise their operands, are compiled for the GPU and run there: every
kernel's shortest time, measured on the GPU, stands beside its roofline, which `tessera inspect` counts. Where PyTorch is
installed, its copy and its product of bf16, which is cuBLAS's, are timed on the same GPU in the same run.

Needs Python 3.11 or newer, and nothing else. With `--device emulator:sm_90a` and small sizes it shows that all of it runs;
the times are then the emulator's.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESSERA = pathlib.Path(os.environ.get("TESSERA", ROOT / "target" / "release" / "tessera"))
RECIPES = ["bf16", "nvfp4", "averis", "nvidia"]


def step(tokens, inputs, outputs):
    """Y = X W, dX = Y Wᵀ, dW = Xᵀ Y, and an update of W so small that it stays in range."""
    w, x, y = f"tensor<{inputs}x{outputs}xf32>", f"tensor<{tokens}x{inputs}xf32>", f"tensor<{tokens}x{outputs}xf32>"
    return f"""\
func.func public @main(%w: {w} {{tf.aliasing_output = 0 : i32}}, %x: {x}) -> ({w}, {x}) {{
  %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : ({x}, {w}) -> {y}
  %dx = stablehlo.dot_general %y, %w, contracting_dims = [1] x [1] : ({y}, {w}) -> {x}
  %dw = stablehlo.dot_general %x, %y, contracting_dims = [0] x [0] : ({x}, {y}) -> {w}
  %r = stablehlo.constant dense<1.0e-9> : tensor<f32>
  %rate = stablehlo.broadcast_in_dim %r, dims = [] : (tensor<f32>) -> {w}
  %change = stablehlo.multiply %dw, %rate : {w}
  %new = stablehlo.subtract %w, %change : {w}
  return %new, %dx : {w}, {x}
}}
"""


def recipe(name):
    """The preset with no linear kept in high precision: the step has one alone, which is the first and the last."""
    keys = "last_linears = 0\nfirst_linears = 0\nfirst_fraction = 0.0\nlast_fraction = 0.0\nnames = []\n"
    return f'extends = "{name}"\n[keep]\n{keys}'


def tessera(*arguments):
    return subprocess.run([TESSERA, *arguments], check=True, capture_output=True, text=True).stdout


def seconds_of(text):
    """`12.3 us` in seconds."""
    number, unit = text.split()
    return float(number) * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}[unit]


def measure(folder, name, sizes, device, steps):
    """Each kernel's name, launches of a step, shortest seconds, least seconds of the chip, and what it waits for."""
    text, own, bundle, report = (folder / f"{name}.{suffix}" for suffix in ["mlir", "toml", "tessera", "json"])
    text.write_text(step(*sizes))
    own.write_text(recipe(name))
    tessera("compile", text, "--recipe", own, "--target", target_of(device), "-o", bundle)
    tessera("run", bundle, "--device", device, "--steps", str(steps), "--input", "arg*=normal(std=0.02)", "--profile",
            "--quiet", "--report", report)
    rooflines = {}
    shown = tessera("inspect", bundle)
    for line in shown.splitlines():
        found = re.match(r"kernel +(\S+) .* at least ([\d.]+ .s) \((.*)\)$", line)
        if found:
            rooflines[found[1]] = seconds_of(found[2]), found[3]
    chip = re.search(r"^chip +(.*?);", shown, re.M)
    kernels = json.loads(report.read_text())["kernels"]
    rows = [(kernel["name"], kernel["launches"] // steps, kernel["least_seconds"], *rooflines.get(kernel["name"], (None, "")))
            for kernel in kernels]
    return chip[1] if chip else "", rows


def target_of(device):
    """The target that uses all of a device."""
    kind, _, name = device.partition(":")
    if kind == "emulator":
        return name
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "-i", name]
    capability = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip().replace(".", "")
    return f"sm_{capability}" if capability == "80" else f"sm_{capability}a"


def print_kernels(name, chip, rows):
    print(f"\n{name}, beside {chip}")
    print(f"{'kernel':<48}{'launches':>9}{'us':>11}{'least us':>11}{'of that':>9}  waits for")
    for kernel, launches, seconds, least, bound in sorted(rows, key=lambda row: -row[1] * row[2]):
        share = f"{least / seconds:8.0%}" if least and seconds else "       -"
        least = f"{least * 1e6:10.2f}" if least else "         -"
        print(f"{kernel[:47]:<48}{launches:>9}{seconds * 1e6:>11.2f} {least} {share}  {bound}")
    print(f"{'step':<48}{'':>9}{sum(row[1] * row[2] for row in rows) * 1e6:>11.2f}")


def pytorch(sizes, device):
    """PyTorch's copy and product of bf16 on the same GPU: shortest of many, by CUDA's events."""
    try:
        import torch
    except ImportError:
        print("\nPyTorch is not installed: nothing to hold against")
        return
    if not device.startswith("cuda") or not torch.cuda.is_available():
        print("\nPyTorch has no GPU here: nothing to hold against")
        return

    def shortest(work, rounds=50):
        times = []
        for _ in range(rounds):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) * 1e-3)
        return min(times)

    tokens, inputs, outputs = sizes
    x = torch.randn(tokens, inputs, device=device, dtype=torch.bfloat16)
    w = torch.randn(inputs, outputs, device=device, dtype=torch.bfloat16)
    product = shortest(lambda: x @ w)
    source = torch.randn(tokens, inputs, device=device)
    target = torch.empty_like(source)
    copy = shortest(lambda: target.copy_(source))
    print(f"\nPyTorch {torch.__version__} on {torch.cuda.get_device_name(device)}")
    print(f"product of bf16     {product * 1e6:9.2f} us  {2 * tokens * inputs * outputs / product / 1e12:8.1f} Tflop/s")
    print(f"copy of f32         {copy * 1e6:9.2f} us  {8 * tokens * inputs / copy / 1e12:8.2f} TB/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--sizes", default="4096x4096x4096", help="tokens x inputs x outputs of the linear")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split("x")]
    with tempfile.TemporaryDirectory() as folder:
        for name in RECIPES:
            chip, rows = measure(pathlib.Path(folder), name, sizes, arguments.device, arguments.steps)
            print_kernels(name, chip, rows)
    pytorch(sizes, arguments.device)


if __name__ == "__main__":
    main()
