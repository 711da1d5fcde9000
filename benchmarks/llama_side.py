"""llama.cpp's side of `real_decode.py`, in an environment of its own, where Creditree is not installed.

    python benchmarks/llama_side.py convert SOURCE.gguf TARGET.gguf F32
    python benchmarks/llama_side.py serve MODEL.gguf --rows 8 --threads 1 --prompt 16 --tokens 24

`serve` decodes the same number of sequences in parallel, a token of each in every batch, and draws each token at
temperature 1: for each line of token ids on its input, the prompts one after the other, it prints the seconds.
"""

import argparse
import ctypes
import json
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any


def convert(source: Path, target: Path, precision: str) -> None:
    """Write a GGUF file with the same values in another precision; vectors stay float32."""
    import gguf

    reader: Any = gguf.GGUFReader(source)
    kind = gguf.GGMLQuantizationType[precision]
    writer: Any = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture" or name == "general.file_type":
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("float32")
        own = kind if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Sequences:
    """A context of llama.cpp with some sequences, which it decodes side by side."""

    def __init__(self, options: argparse.Namespace) -> None:
        import llama_cpp

        self.lib: Any = llama_cpp
        self.rows, self.tokens = options.rows, options.tokens
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        self.lib.llama_log_set(self._quiet, ctypes.c_void_p(0))
        self.lib.llama_backend_init()
        self.model = self.lib.llama_model_load_from_file(
            str(options.model).encode(), self.lib.llama_model_default_params()
        )
        params = self.lib.llama_context_default_params()
        each = (options.prompt + options.tokens + 31) // 32 * 32
        params.n_ctx = self.rows * each
        params.n_batch = params.n_ubatch = max(64, self.rows * options.prompt)
        params.n_seq_max = self.rows
        params.n_threads = params.n_threads_batch = options.threads
        self.context = self.lib.llama_init_from_model(self.model, params)
        self.batch = self.lib.llama_batch_init(self.rows * options.prompt, 0, 1)

    def run(self, prompts: list[list[int]], seed: int) -> dict[str, float]:
        """Decode from the prompts; return the seconds of all tokens but the first."""
        lib = self.lib
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)
        sampler = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(sampler, lib.llama_sampler_init_dist(seed))
        length = len(prompts[0])
        self._decode([(t, i, s, i == length - 1) for s, ids in enumerate(prompts) for i, t in enumerate(ids)])
        places = [(s + 1) * length - 1 for s in range(self.rows)]
        drawn = [lib.llama_sampler_sample(sampler, self.context, place) for place in places]
        wall, cpu = perf_counter(), process_time()
        for step in range(1, self.tokens):
            self._decode([(t, length + step - 1, s, True) for s, t in enumerate(drawn)])
            drawn = [lib.llama_sampler_sample(sampler, self.context, place) for place in range(self.rows)]
        found = {"wall_s": perf_counter() - wall, "cpu_s": process_time() - cpu}
        lib.llama_sampler_free(sampler)
        return found

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        batch = self.batch
        batch.n_tokens = len(entries)
        for i, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, sequence, wanted
        if self.lib.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")


def main() -> None:
    """Convert or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    converting = parts.add_parser("convert")
    for name, kind in (("source", Path), ("target", Path), ("precision", str)):
        converting.add_argument(name, type=kind)
    serving = parts.add_parser("serve")
    serving.add_argument("model", type=Path)
    for name in ("rows", "threads", "prompt", "tokens"):
        serving.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    if options.part == "convert":
        convert(options.source, options.target, options.precision)
        return
    sequences = Sequences(options)
    print(json.dumps({"system": sequences.lib.llama_print_system_info().decode()}), flush=True)
    for seed, line in enumerate(sys.stdin):
        print(json.dumps(sequences.run(json.loads(line), seed)), flush=True)


if __name__ == "__main__":
    main()
