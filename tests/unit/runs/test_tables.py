import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock
from creditree.runs.tables import read_table, write_table

READ = """
import os, sys
from pathlib import Path
import pyarrow.parquet
from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock
from creditree.runs.tables import read_table

folder = Path(sys.argv[1])
before = os.listdir("/proc/self/task")
rows = read_table(HeldDirectory(folder, RunLock(folder)), "t.parquet", ["a", "b"], "write it again")
print(len(rows), len(os.listdir("/proc/self/task")) - len(before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_reading_starts_no_thread_that_could_outlive_the_interpreter(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": list(range(1000)), "b": ["x" * 50] * 1000}), tmp_path / "t.parquet")
    read = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert read.stdout.split() == ["1000", "0"]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    held = HeldDirectory(tmp_path, RunLock(tmp_path))
    rows = [{"a": None, "b": ["é", ""]}, {"a": 0.5, "b": None}]
    write_table(held, "t.parquet", pa.Table.from_pylist(rows))
    assert read_table(held, "t.parquet", ["b", "a"], "", later=["c"]) == rows
