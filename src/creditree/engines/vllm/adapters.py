"""Adapters on their way to the server: written as a PEFT directory, loaded under a new name, and unloaded later."""

import shutil
import tempfile
from pathlib import Path
from uuid import uuid4
from weakref import finalize

from creditree.engines.vllm.client import Client, PassingError, RefusedError, ServerError
from creditree.errors import ModelError
from creditree.models.trained import Trained

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
GOODBYE_S = 5.0
_NO_ROUTE = {"Not Found", "Method Not Allowed"}


class ServedAdapters:
    """What is loaded on a server, under names that nobody has used before.

    The server keys what it has computed of prefixes by an adapter's name: new weights under an old name would be
    sampled from the old prefixes. `folder`: where the directories are written, for the server to read.
    """

    def __init__(self, client: Client, folder: str | None) -> None:
        self._client = client
        self._run = uuid4().hex[:12]
        self._names = 0
        self._loaded: list[str] = []
        parent = Path(tempfile.mkdtemp(prefix="creditree-")) if folder is None else Path(folder).absolute()
        self.folder = parent / f"adapters-{self._run}"
        written = parent if folder is None else self.folder
        self._clear = finalize(self, shutil.rmtree, written, ignore_errors=True)

    def write(self, trained: Trained) -> Path:
        """Write what is trained into a new directory."""
        self._names += 1
        path = self.folder / f"{self._names:06d}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise ModelError(
                f"the adapter cannot be written into '{self.folder}' ({error.strerror}); set engine.adapters to a "
                "folder that this process can write and the server can read."
            ) from None
        trained.save(path)
        return path

    def load(self, path: Path) -> str:
        """Load a directory under a new name, each attempt under another: one may have been heard, and its answer lost.

        Raises ServerError where the server loads none.
        """
        return self._client.persist(lambda: self._load(path))

    def _load(self, path: Path) -> str:
        self._names += 1
        name = f"creditree-{self._run}-{self._names:06d}"
        self._loaded.append(name)
        try:
            self._client.once("POST", LOAD, {"lora_name": name, "lora_path": str(path)})
        except RefusedError as error:
            self._loaded.remove(name)
            if error.status in (404, 405) and str(error) in _NO_ROUTE:
                raise ServerError(
                    f"the server at {self._client.url} loads no adapters while it runs, so it can be measured with but "
                    "not trained with; start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1."
                ) from None
            raise ServerError(
                f"the server at {self._client.url} refuses the adapter in '{path}' ({error}); it must be able to read "
                "that folder (engine.adapters), and be started with --enable-lora and a --max-lora-rank that holds it."
            ) from None
        return name

    def keep_only(self, name: str, path: Path) -> None:
        """Unload all but one, and remove their directories; what cannot be unloaded now is unloaded later."""
        for other in [loaded for loaded in self._loaded if loaded != name]:
            try:
                self._client.once("POST", UNLOAD, {"lora_name": other})
            except PassingError:
                continue
            except RefusedError:
                pass  # it is not there any more
            self._loaded.remove(other)
        for folder in self.folder.iterdir():
            if folder != path:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Unload everything, as far as the server listens, and remove what was written."""
        for name in self._loaded:
            try:
                self._client.once("POST", UNLOAD, {"lora_name": name}, GOODBYE_S)
            except RefusedError:
                continue
            except PassingError:
                break
        self._loaded.clear()
        self._clear()
