"""A fixed number of problems a step, all of them expanded and trained on."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.piece import number
from creditree.schedule.base import Schedule

OFF_POLICY = "first completions of the next problems are sampled beside the branches of these"


@dataclass(frozen=True)
class Fixed(Schedule):
    """Draw the same number of problems every step and drop none.

    `off_policy`: the first round of the next problems shares an engine call with the later rounds of these (AttnRL's
    pipeline, arXiv 2509.26628 section 3.3).
    """

    off_policy: bool = number(False, OFF_POLICY)
    name: ClassVar[str] = "fixed"
    is_plain: ClassVar[bool] = True
