"""Where the time of a decoding step on the GPU goes, kernel by kernel.

    PYTHONPATH=src:. python benchmarks/gpu_profile.py [--model random:qwen2-1.5b] [--rows 8 50] [--kernels plain triton]

One call of so many rows with each kind of kernels, traced by torch's profiler after one that records the steps: of each
kernel its launches a step and microseconds a step, the most expensive first; with them the sum, and what a step took
without the profiler. What the sum lacks of that is gaps between kernels.
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_decode import ours
from benchmarks.gpu_record import Stopwatch, parser_of, write

TOKENS = 48
NAME_WIDTH = 90


def profiled(options: Namespace, rows: int, kernels: Any) -> dict[str, Any]:
    """Return launches and microseconds a step of each kernel."""
    sample, _ = ours(Namespace(**vars(options), rows=[rows], system=kernels), kernels)
    sample(0, rows)
    watch = Stopwatch(options.device)
    _, extra = sample(1, rows)
    step_ms = 1000 * watch.seconds() / TOKENS
    with profile(activities=[ProfilerActivity.CUDA]) as traced:
        sample(1, rows)
        torch.cuda.synchronize()
    events = sorted(traced.key_averages(), key=lambda event: -event.self_device_time_total)
    table = {
        event.key[:NAME_WIDTH]: [round(event.count / TOKENS, 2), round(event.self_device_time_total / TOKENS, 2)]
        for event in events
        if event.self_device_time_total > 0
    }
    total = sum(micros for _, micros in table.values())
    found = {"rows": rows, "kernels": kernels, "call_ms_a_token": step_ms, "kernels_us_a_step": total}
    return found | {"eager": extra["eager"], "refused": extra["refused"], "table": dict(list(table.items())[:40])}


def main() -> None:
    """Trace and write what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="random:qwen2-1.5b")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50])
    parser.add_argument("--kernels", nargs="+", default=["plain", "triton"])
    options = parser.parse_args()
    fixed = {"model": options.model, "dtype": "bfloat16", "device": options.device, "tokens": TOKENS}
    work = Namespace(**fixed, prompt_tokens=100, sharpness=1.0)
    for kernels in options.kernels:
        for rows in options.rows:
            found = profiled(work, rows, kernels)
            model = options.model.rpartition(":")[2]
            write(f"profile {model} {kernels} {rows}", found, options.device, options.out, quiet=True)
            print(f"{model} {kernels} {rows} rows: {found['call_ms_a_token']:.2f} ms a token, "
                  f"{found['kernels_us_a_step']:.0f} us of kernels a step")  # fmt: skip
            for name, (count, micros) in list(found["table"].items())[:25]:
                print(f"  {micros:8.1f} us {count:7.1f} x {name}", flush=True)


if __name__ == "__main__":
    main()
