"""A frozen base in int8 or nf4 (bitsandbytes, extra `[quant]`), computed alike in sampling and in learning.

What is quantised: the seven projections of every decoder layer. What is not: embedding, output head, norms and biases,
which are held in bfloat16. Activations are bfloat16, on CPU and CUDA; adapters are float32, as over any base.

- `int8` (LLM.int8, arXiv 2208.07339): one byte a weight and one float32 scale an output, absmax / 127.
- `nf4` (QLoRA, arXiv 2305.14314): half a byte a weight and a scale every 64 weights, which is itself quantised to one
  byte (double quantisation: 0.127 bits a weight for scales instead of 0.5, at 7 % of what dequantising takes).

bitsandbytes quantises and dequantises; its own layers do not compute. On a CPU with AVX512-BF16 its 4-bit layer repacks
the weights in the first pass without gradient: after that a pass with gradient raises, and inputs must be a multiple of
64. Its 8-bit layer rounds activations too, and chooses outliers over the whole batch, so that a completion would depend
on what it is sampled with. Here y = x W^T + b with W dequantised, in every pass, and dx = dy W exactly.

transformers could quantise while it reads, and took 5 to 10 times as long and twice the memory (bitsandbytes works on
whole matrices, with five float32 copies): here `from_pretrained` maps the file, and `quantise` reads it in pieces.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from creditree.errors import ModelError
from creditree.models.products import product, product_back

Quantisation = Literal["int8", "nf4"]
QUANTISATIONS: tuple[Quantisation, ...] = ("int8", "nf4")
COMPUTE = torch.bfloat16
BLOCK = 64
"""Weights that share one scale, of nf4 (QLoRA)."""
BLOCK_OF_SCALES = 256
"""Scales that share one scale of their own (QLoRA)."""
_AT_ONCE = 1 << 18
"""Weights quantised together, a multiple of both blocks: bitsandbytes makes five float32 copies of them."""


class QuantisedLinear(torch.nn.Linear):
    """A frozen linear layer whose `weight` holds codes. It stays on the device and in the precision it was made for."""

    def __init__(self, shape: tuple[int, int], codes: Tensor, bias: Tensor | None) -> None:
        """Take codes that stand for a matrix of `shape` (outputs, inputs)."""
        super().__init__(shape[1], shape[0], bias is not None, device="meta")
        self.weight = torch.nn.Parameter(codes, requires_grad=False)
        if bias is not None:
            self.bias = torch.nn.Parameter(bias.detach(), requires_grad=False)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return the dequantised matrix [outputs, inputs]."""
        raise NotImplementedError

    def held(self) -> Iterator[Tensor]:
        """Yield every tensor that the layer holds; two layers may hold the same one."""
        yield from self.parameters(recurse=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return input W^T + b. Nothing but the codes is kept for the backward pass."""
        out: Tensor = _Product.apply(input, self)  # type: ignore[no-untyped-call]
        return out

    def product(self, input: Tensor) -> Tensor:
        """Return input W^T + b, without autograd."""
        return product(input, self.matrix(input.dtype), self._bias(input.dtype))

    def product_back(self, grad: Tensor) -> Tensor:
        """Return grad W, without autograd."""
        return product_back(grad, self.matrix(grad.dtype))

    def _bias(self, dtype: torch.dtype) -> Tensor | None:
        bias: Tensor | None = self.bias
        return None if bias is None else bias.to(dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, layer: QuantisedLinear) -> Tensor:
        ctx.layer = layer
        return layer.product(input)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.product_back(grad), None


class Int8Linear(QuantisedLinear):
    """W[i, j] = scale[i] * codes[i, j]. Codes are exact in bfloat16, so the scale is applied to the outputs."""

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        """Take int8 codes [outputs, inputs] and a float32 scale [outputs]."""
        super().__init__((codes.shape[0], codes.shape[1]), codes, bias)
        self.scale = scale  # no buffer: it is float32 whatever the model is cast to

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> "Int8Linear":
        """Quantise a matrix [outputs, inputs]: codes = round(127 w / absmax of the row)."""
        codes = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        absmax = torch.empty(len(weight), dtype=torch.float32, device=weight.device)
        rows = max(1, _AT_ONCE // weight.shape[1])
        for start in range(0, len(weight), rows):
            part = slice(start, start + rows)
            codes[part], absmax[part], _ = bitsandbytes().functional.int8_vectorwise_quant(weight[part].half())
        return cls(codes, absmax / 127, bias)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return scale * codes."""
        kind = torch.promote_types(dtype, torch.float32)
        return (self.weight.to(kind) * self.scale[:, None]).to(dtype)

    def held(self) -> Iterator[Tensor]:
        """Yield codes, bias and scale."""
        yield from super().held()
        yield self.scale

    def product(self, input: Tensor) -> Tensor:
        """Return (input codes^T) scale + b."""
        out, bias = product(input, self.weight).mul_(self.scale), self._bias(input.dtype)
        return out if bias is None else out.add_(bias)

    def product_back(self, grad: Tensor) -> Tensor:
        """Return (grad scale) codes."""
        return product_back(grad.clone().mul_(self.scale), self.weight)


class Nf4Linear(QuantisedLinear):
    """W = scale of its block of 64 * one of 16 quantiles of the normal distribution; two codes a byte, row by row."""

    def __init__(self, codes: Tensor, state: Any, bias: Tensor | None) -> None:
        """Take what bitsandbytes' `quantize_4bit` returned."""
        super().__init__((int(state.shape[0]), int(state.shape[1])), codes, bias)
        self.whole_blocks = self.in_features % int(state.blocksize) == 0
        if not self.whole_blocks:
            # blocks run on from row to row, which the AVX512 kernel of bitsandbytes 0.50 gets wrong where the inputs
            # are a multiple of 32 but not of 64 (an error of 20 to 66 % instead of 9 %), unless it is told of one row
            state.shape = torch.Size([self.in_features * self.out_features])
        state.dtype = COMPUTE
        state.code = _shared(state.code)
        if state.nested:
            state.state2.code = _shared(state.state2.code)
        self.state = state

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> "Nf4Linear":
        """Quantise a matrix [outputs, inputs] of an even number of inputs, as `quantize_4bit` does, in pieces."""
        functional = bitsandbytes().functional
        codes = torch.empty(weight.numel() // 2, 1, dtype=torch.uint8, device=weight.device)
        absmax = torch.empty(-(-weight.numel() // BLOCK), dtype=torch.float32, device=weight.device)
        for index, part in enumerate(weight.flatten().split(_AT_ONCE)):
            packed, quant_state = functional.quantize_4bit(part.float(), blocksize=BLOCK, quant_type="nf4")
            start = index * _AT_ONCE
            codes[start // 2 : start // 2 + len(packed)] = packed
            absmax[start // BLOCK : start // BLOCK + len(quant_state.absmax)] = quant_state.absmax
        offset = absmax.mean()
        scales, nested = functional.quantize_blockwise(absmax - offset, blocksize=BLOCK_OF_SCALES)
        state = functional.QuantState(
            scales, weight.shape, quant_state.code, BLOCK, "nf4", COMPUTE, offset=offset, state2=nested
        )
        return cls(codes, state, bias)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return what the codes and their scales stand for, rounded to `COMPUTE`."""
        matrix: Tensor = bitsandbytes().functional.dequantize_4bit(self.weight, self.state)
        return matrix.view(self.out_features, self.in_features).to(dtype)

    def held(self) -> Iterator[Tensor]:
        """Yield codes, bias, scales, and the two tables that all layers share."""
        yield from super().held()
        yield from (self.state.absmax, self.state.code)
        if self.state.nested:
            yield from (self.state.offset, self.state.state2.absmax, self.state.state2.code)

    def product(self, input: Tensor) -> Tensor:
        """Return input W^T + b; on CUDA by a kernel that reads each code once where there are few inputs."""
        if not (input.is_cuda and self.whole_blocks and input.dtype == COMPUTE):
            return super().product(input)
        bias = self._bias(input.dtype)
        out: Tensor = bitsandbytes().matmul_4bit(input, self.weight.t(), quant_state=self.state, bias=bias)
        return out


_TABLES: dict[tuple[torch.device, bytes], Tensor] = {}


def _shared(table: Tensor) -> Tensor:
    """Return one tensor for equal tables: on CUDA bitsandbytes makes a copy for each matrix."""
    return _TABLES.setdefault((table.device, table.cpu().numpy().tobytes()), table)


def bitsandbytes() -> Any:
    """Return the module bitsandbytes. Raises ModelError where it is missing."""
    try:
        import bitsandbytes as found
    except (ImportError, OSError) as error:
        raise ModelError(
            f"a base model in {' or '.join(QUANTISATIONS)} needs bitsandbytes, which cannot be imported ({error}); run "
            "pip install 'creditree[quant]', or set model.dtype to bfloat16."
        ) from error
    return found


def saved_as(config: Any) -> str | None:
    """Return what the weights of a checkpoint are quantised in: int8, nf4 or another name; None: they are not."""
    saved = getattr(config, "quantization_config", None)
    if saved is None:
        return None
    settings = saved if isinstance(saved, dict) else saved.to_dict()
    if settings.get("load_in_8bit"):
        return "int8"
    return str(settings.get("bnb_4bit_quant_type", "fp4") if settings.get("load_in_4bit") else settings["quant_method"])


def adopt(model: Any) -> None:
    """Replace the layers of bitsandbytes, in a checkpoint that was saved quantised, by ours over the same codes."""
    bnb = bitsandbytes()
    for name, module in list(model.named_modules()):
        weight: Any = getattr(module, "weight", None)
        bias = getattr(module, "bias", None)
        if isinstance(module, bnb.nn.Linear8bitLt):
            model.set_submodule(name, Int8Linear(_plain(weight), weight.SCB / 127, bias))
        elif isinstance(module, bnb.nn.Linear4bit):
            model.set_submodule(name, Nf4Linear(_plain(weight), weight.quant_state, bias))


def _plain(weight: Any) -> Tensor:
    data: Tensor = weight.data.as_subclass(Tensor)
    return data


@torch.no_grad()
def quantise(model: Any, kind: Quantisation, device: str) -> None:
    """Quantise a model in place, matrix by matrix, on `device`, where it ends up.

    A model whose weights are mapped from a file, as `from_pretrained` leaves them on a CPU, is never in memory whole.
    Raises ModelError for a matrix that cannot be packed, and where most of the model lies in no linear layer.
    """
    linear = [(name, module) for name, module in model.named_modules() if _is_quantised_in(model, module)]
    _check_share(model, sum(module.weight.numel() for _, module in linear))
    for name, module in linear:
        if kind == "nf4" and module.in_features % 2:
            raise ModelError(
                f"layer {name} has {module.in_features} inputs, and nf4 packs two weights of a row in a byte; set "
                "model.dtype to int8."
            )
        weight = module.weight.to(device)
        made = Int8Linear.of(weight, module.bias) if kind == "int8" else Nf4Linear.of(weight, module.bias)
        model.set_submodule(name, made)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(device, COMPUTE, copy=True)  # a copy lets go of the file
    torch.nn.Module.to(model, device)  # buffers: the rotary angles stay float32


def _is_quantised_in(model: Any, module: torch.nn.Module) -> bool:
    return type(module) is torch.nn.Linear and module is not model.get_output_embeddings()


def _check_share(model: Any, quantised: int) -> None:
    """Raise ModelError where more than half of a model, its embedding and head apart, would stay as it is."""
    ends = {
        id(module.weight): module.weight for module in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    rest = sum(parameter.numel() for parameter in model.parameters()) - sum(end.numel() for end in ends.values())
    if 2 * quantised < rest:
        raise ModelError(
            f"{type(model).__name__} has {quantised / rest:.0%} of its weights in linear layers, so quantised it would "
            "be no smaller; set model.dtype to bfloat16."
        )
