"""The engine that samples from a vLLM server, or any server of the same protocol, over HTTP."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from time import sleep
from weakref import WeakSet

import numpy as np

from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.pulse import Told
from creditree.engines.requests import check_requests
from creditree.engines.vllm.adapters import ServedAdapters
from creditree.engines.vllm.answers import DrawnTokens
from creditree.engines.vllm.client import Client, RefusedError, ServerError
from creditree.engines.vllm.dialect import VLLM, Dialect
from creditree.engines.vllm.drawing import MOST_LOADS, GoneError, VllmDrawing
from creditree.engines.vllm.own import OwnServer
from creditree.engines.vllm.proof import Proof
from creditree.engines.vllm.server import ServerSpec
from creditree.engines.vllm.threads import SideBySide
from creditree.errors import ConfigError, DataError
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.models.trained import Trained
from creditree.tree import IntArray


class VllmEngine(Engine):
    """Samples from a server; what learns is written, loaded and proven there before the first sample that needs it.

    The model in this process is the one that learns: it scores a few tokens after each load and each call (`Proof`),
    so that weights which are not served are noticed before anything is learned from them. The server keeps keys and
    values of prefixes by itself, so forks cost it no second prefill; here nothing is stored. It draws with random
    numbers of its own: a run is not reproducible to the bit, and a resumed one goes on from its checkpoint.

    `trained`: what is sampled unless it is switched off; None: the base model alone.
    """

    def __init__(
        self,
        model: Model,
        trained: Trained | None,
        spec: ServerSpec,
        prompts: Sequence[IntArray],
        max_rows: int = 512,
        own: OwnServer | None = None,
        dialect: Dialect = VLLM,
    ) -> None:
        """Find out what the server can do. Raises ServerError, in one sentence, where that is not enough.

        `prompts`: a few of those to come, for the canary;  `own`: the server, where it was started for this engine,
        which stops it;  `dialect`: how it is asked.
        """
        if trained is not None and trained.folder != "adapter":
            raise ConfigError("a server is given adapters only, and all weights were trained; use engine: in_process.")
        self.model = model
        self.trained = trained
        self._spec = spec
        self._max_rows = max_rows
        self._own = own
        self._client = Client(spec.url, spec.patience, spec.connections, own)
        self._dialect = dialect
        self.served = dialect.find(self._client, spec.model)
        self._reader = dialect.reader(model.network.vocab_size, model.eos_ids)
        self._proof = Proof(self._client, model, trained, self.served, spec.limit, dialect)
        self._proof.begin(prompts, self._reader)
        self._adapters = None if trained is None else ServedAdapters(self._client, spec.adapters)
        self._published: tuple[str, bytes] | None = None
        self._drawings: WeakSet[VllmDrawing] = WeakSet()
        if trained is not None and not trained.is_off:
            self._policy()

    @property
    def max_rows(self) -> int:
        """How many completions are asked for together."""
        return self._max_rows

    @property
    def remote(self) -> str:
        """What samples, for the record of a run."""
        place = f"at {self._client.url}" if self._own is None else "that was started for it"
        return f"{self.served.version} {place}, which draws by itself"

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of a run that a server samples for."""
        noise = f" (it rounds by {self._proof.noise:.2g} nats a token)" if self.trained is not None else ""
        return (
            f"sampling: {self.remote}{noise}: the run cannot be repeated to the bit, and goes on from its checkpoint",
        )

    def forget(self) -> None:
        """Do nothing: nothing is stored here, and what the server stores is under the name of the weights."""

    def trunk(self, handles: IntArray) -> None:
        """Return None: no inputs of a layer are stored."""

    def close(self) -> None:
        """Unload what was loaded, remove what was written for it, and stop a server of one's own."""
        for drawing in self._drawings:
            drawing.end()
        if self._adapters is not None:
            self._adapters.close()
        self._client.close()
        if self._own is not None:
            self._own.stop()

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Return each request's samples in the order of its keys.

        `sampler_logprobs` are NaN where another temperature than 1 or a nucleus makes them others than the raw ones,
        which a server does not tell; entropies and influence are of passes here (`samples_of`). Raises DataError for a
        context that does not fit, and ServerError where the server cannot be sampled from.
        """
        if not requests:
            return [], Ledger()
        return self.begin(requests, sampling).samples(told)

    def begin(self, requests: Sequence[SampleRequest], sampling: Sampling) -> "VllmDrawing":
        """Load and prove the weights where it must, ask the server, and return while it samples.

        Raises DataError for a context that does not fit, and ServerError where the server cannot be sampled from.
        """
        check_requests(self.model, requests)
        self._check(requests)
        drawing = VllmDrawing(self, requests, sampling)
        self._drawings.add(drawing)
        return drawing

    def ask(self, requests: Sequence[SampleRequest], sampling: Sampling) -> tuple[str, SideBySide[list[DrawnTokens]]]:
        """Return the name of the weights as they are, and the answers for all requests, which are on their way."""
        name = self._policy()
        return name, SideBySide([self._job(name, request, sampling) for request in requests], self._spec.connections)

    def wrong_with(
        self, name: str, requests: Sequence[SampleRequest], drawn: Sequence[Sequence[DrawnTokens]]
    ) -> str | None:
        """Return what is wrong with completions that were drawn under a name: a clause; None where nothing is."""
        return None if name == self.served.name else self._proof.drawn(requests, drawn)

    def mistrust(self, attempt: int) -> None:
        """Load the weights again before the next sample, after a pause that grows."""
        self._published = None
        sleep(self._spec.patience.first_pause_s * attempt)

    def _job(self, name: str, request: SampleRequest, sampling: Sampling) -> Callable[[], list[DrawnTokens]]:
        def answer_to(part: SampleRequest) -> list[DrawnTokens]:
            body = self._dialect.question(name, part, sampling, self.model.eos_ids)
            return self._client.post(self._dialect.path, body, lambda answer: self._reader.read(answer, name, part))

        def job() -> list[DrawnTokens]:
            try:
                return [completion for part in self._dialect.parts(request) for completion in answer_to(part)]
            except RefusedError as error:
                if error.status == 404 and name != self.served.name:
                    raise GoneError from None
                raise ServerError(
                    f"the server at {self._client.url} refuses {len(request.keys)} completions of "
                    f"{request.max_new_tokens} tokens after {len(request.context_ids)} (HTTP {error.status}: {error}); "
                    "start it with room for them."
                ) from None

        return job

    def _policy(self) -> str:
        """Return the name under which the server has the weights as they are now; load and prove them where it must."""
        trained = self.trained
        if trained is None or trained.is_off:
            return self.served.name
        digest = sha256()
        for matrix in trained.matrices:
            digest.update(np.ascontiguousarray(matrix.detach().float().cpu().numpy()).tobytes())
        if self._published is None or self._published[1] != digest.digest():
            self._published = None
            self._published = self._publish(trained), digest.digest()
        return self._published[0]

    def _publish(self, trained: Trained) -> str:
        assert self._adapters is not None
        path, wrong = self._adapters.write(trained), ""
        for attempt in range(MOST_LOADS):
            sleep(self._spec.patience.first_pause_s * attempt)
            name, wrong = self._proven(path)
            if not wrong:
                self._adapters.keep_only(name, path)
                return name
        raise self.given_up(wrong)

    def _proven(self, path: Path) -> tuple[str, str]:
        """Load a directory; return the name, and what is wrong with what is then served, "" for nothing."""
        assert self._adapters is not None
        name = self._adapters.load(path)
        try:
            return name, self._proof.loaded(name) or ""
        except RefusedError as error:
            return name, f"does not serve what it has loaded (HTTP {error.status}: {error})"

    def given_up(self, wrong: str) -> ServerError:
        """Return what to raise where attempts did not help."""
        return ServerError(
            f"the server at {self._client.url} {wrong}, after {MOST_LOADS} attempts; nothing of it was learned from: "
            "start it again, and repeat or `resume`."
        )

    def _check(self, requests: Sequence[SampleRequest]) -> None:
        limit = self.served.max_tokens
        for request in requests:
            if limit is not None and len(request.context_ids) + request.max_new_tokens > limit:
                raise DataError(
                    f"a prompt of {len(request.context_ids)} tokens and {request.max_new_tokens} new ones exceed the "
                    f"context of {limit} tokens of the server at {self._client.url}; lower sampling.max_new_tokens, or "
                    "start it with a longer one."
                )
