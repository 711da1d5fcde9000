"""What the first command of a process takes longer for, done once in the process that commands are forked from.

Reading a first model builds transformers' tables, a first chart those of matplotlib, and pyarrow imports pandas, where
it is installed, for a first table: half of the second that a short run takes.
"""

import gc
from io import BytesIO

import pyarrow as pa
import pyarrow.dataset
from matplotlib.figure import Figure

from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import load_model
from creditree.rng import Key

Adapter(load_model("builtin:multiplication"), LoraSpec(), Key.of(0))
pa.array(["text"])
figure = Figure(layout="constrained")
chart = figure.add_subplot()
chart.plot([0, 1], label="label")
chart.legend()
figure.savefig(BytesIO(), format="png")
gc.collect()
gc.freeze()
