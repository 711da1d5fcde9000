"""Base models and their adapters."""

import logging


def _expected(record: logging.LogRecord) -> bool:
    """Leave out that an optional kernel of bitsandbytes is missing: peft imports it, whatever the base model is.

    On CPUs with AVX512-BF16 it says so on stderr; `quantise` does without that kernel.
    """
    return not str(record.msg).startswith("Failed to load CPU gemm_4bit_forward")


logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_expected)
