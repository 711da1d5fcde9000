"""Problems to train on and problems held out: generated, from a file, or from the hub."""

from creditree.tasks.benchmarks import BENCHMARKS, Benchmark, benchmark
from creditree.tasks.function import function_task
from creditree.tasks.mixture import Mixture
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.split import Split
from creditree.tasks.svamp import svamp
from creditree.tasks.table import Columns, Table, load_table
from creditree.tasks.task import PromptTemplate, Task
from creditree.tasks.word_problems import WordProblems

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Columns",
    "Mixture",
    "Multiplication",
    "PromptTemplate",
    "Split",
    "Table",
    "Task",
    "WordProblems",
    "benchmark",
    "function_task",
    "load_table",
    "svamp",
]
