"""Words that ask for an answer as a grader reads it."""

from collections.abc import Mapping
from types import MappingProxyType

BOXED = "{question} Let's think step by step and output the final answer within \\boxed{{}}."
"""AttnRL (arXiv 2509.26628), table 4: one user message, in the chat format where the tokenizer has one."""
INTEGER = "{question}\nReason step by step, and finish with the answer as one integer.\n"

WORDINGS: Mapping[str, str] = MappingProxyType(
    {
        "last_integer": INTEGER,
        "numeric": "{question}\nReason step by step, and finish with: The answer is NUMBER.\n",
        "choice": "{question}\nReason step by step, and finish with: The answer is LETTER.\n",
        "math": BOXED,
        "exact": "{question}\nReason step by step, and finish with a line: The answer is ...\n",
    }
)
"""By grader."""
