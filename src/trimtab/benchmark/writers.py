"""How each row writes its texts: our loop, transformers' `generate`, or vLLM. All say when the first token came."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.rows import DRAFT, Row
from trimtab.benchmark.subject import Subject, random_prompts
from trimtab.engines.base import Request, StartsBatches
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import ACCELERATOR_POLL
from trimtab.engines.torch.running_batch import RunningBatch
from trimtab.evaluation.run.timing import Clock
from trimtab.models.codec import TextCodec
from trimtab.rewards.network import RewardNetwork
from trimtab.steering.steer import Steer
from trimtab.training.own_texts import openings

PASSAGES = 3  # in a prompt that repeats one


class Run(NamedTuple):
    """One timed batch.

    Attributes:
        first: seconds until the first token of every text: the prompts' forward and one choice.
        others: seconds of all other tokens.
        tokens: tokens of each text.
    """

    first: float
    others: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Seconds of one step, in which every text gets a token; the first token is left out."""
        return self.others / (self.tokens - 1)


Now = Callable[[], float]  # seconds
Write = Callable[[int], Run]  # writes texts of this many tokens


@final
@dataclass(frozen=True)
class Job:
    """The texts of one row in one table.

    Attributes:
        subject: the model.
        setting: batch, prompts and candidates.
        steers: one per text; None for plain sampling.
        seed: seed of the prompts and of the sampling.
        network: the network of the reward; None for plain sampling.
        now: the clock.
        speculate: drafts tokens; then each prompt repeats a passage.
    """

    subject: Subject
    setting: Setting
    steers: Sequence[Steer | None]
    seed: int
    network: RewardNetwork | None
    now: Now
    speculate: str | None = None

    @property
    def prompts(self) -> list[list[int]]:
        """Random token ids, all of one length; or a passage of them, repeated to that length; or sentences."""
        tokens = self.setting.prompt_tokens
        if self.speculate == DRAFT:
            return sentences(self.subject.lm.codec, self.setting.batch, tokens)
        passage = tokens if self.speculate is None else max(1, tokens // PASSAGES)
        prompts = random_prompts(self.subject.lm, self.setting.batch, passage, self.seed)
        return [(ids * (tokens // passage + 1))[:tokens] for ids in prompts]

    def requests(self, tokens: int) -> list[Request]:
        """The texts as requests of that many tokens."""
        params = SamplingParams(
            top_k=self.setting.top_k, max_new_tokens=tokens, seed=self.seed, speculate=self.speculate
        )
        return [Request(ids, params, steer) for ids, steer in zip(self.prompts, self.steers, strict=True)]


def clock_of(device: torch.device, cpu_time: bool = False) -> Now:
    """The wall time after all work of the device so far, or the CPU time of all threads of this process."""
    return time.process_time if cpu_time else Clock(device).now


def job_of(row: Row, setting: Setting, rewards: FreshRewards, seed: int, cpu_time: bool = False) -> Job:
    """The texts of a row in a table."""
    network = rewards.model(row.reward).network if row.reward else None
    now = clock_of(rewards.subject.lm.device, cpu_time)
    return Job(rewards.subject, setting, rewards.steers(row, setting.batch), seed, network, now, row.speculate)


def writer_of(row: Row, job: Job, engine: StartsBatches | None = None) -> Write:
    """What writes the texts of a row; the engine is vLLM's, for its rows."""
    if row.writer == "vllm":
        assert engine is not None
        return engine_writer(job, engine)
    return generate_writer(job) if row.writer == "generate" else loop_writer(job)


def engine_writer(job: Job, engine: StartsBatches) -> Write:
    """Write by the running batch of an engine, which may take several steps to read the prompts."""

    def write(tokens: int) -> Run:
        requests = job.requests(tokens)
        start = job.now()
        batch = engine.start_batch()
        batch.add(requests, [tokens] * len(requests))
        opened: set[int] = set()
        while len(opened) < len(requests):
            opened |= {chunk.request for chunk in batch.step()}
        first = job.now()
        while batch.active:
            batch.step()
        return Run(first - start, job.now() - first, tokens)

    return write


def loop_writer(job: Job, started: Callable[[], None] = lambda: None) -> Write:
    """Write by our decode loop. The device is polled as `TorchEngine.sample` polls it.

    Args:
        job: the texts.
        started: called behind the first token.
    """
    lm = job.subject.lm
    poll = 1 if lm.device.type == "cpu" else ACCELERATOR_POLL

    def write(tokens: int) -> Run:
        requests = job.requests(tokens)
        start = job.now()
        batch = RunningBatch(lm, proposers=job.subject.proposers)
        batch.add(requests, [tokens] * len(requests))
        batch.step()
        first = job.now()
        started()
        while batch.active:
            batch.step(poll)
        return Run(first - start, job.now() - first, tokens)

    return write


def generate_writer(job: Job, started: Callable[[], None] = lambda: None) -> Write:
    """Write by transformers' `generate`, sampling from the same number of candidates, with torch's own linear maps.

    Arguments as in `loop_writer`.
    """
    model, batch = job.subject.as_transformers_loads_it, job.subject.lm.batch(job.prompts)

    def write(tokens: int) -> Run:
        torch.manual_seed(job.seed)
        first = FirstToken(job.now, started)
        start = job.now()
        model.generate(
            input_ids=batch.ids,
            attention_mask=batch.mask.long(),
            do_sample=True,
            top_k=job.setting.top_k,
            max_new_tokens=tokens,
            stopping_criteria=StoppingCriteriaList([first]),
        )
        return Run(first.at - start, job.now() - first.at, tokens)

    return write


def sentences(codec: TextCodec, rows: int, tokens: int) -> list[list[int]]:
    """Token ids of openings that ship with trimtab, one behind the other, each row from another one on."""
    encoded = [codec.encode_prompt(opening) for opening in openings()]
    turned = [encoded[row % len(encoded) :] + encoded[: row % len(encoded)] for row in range(rows)]
    found = [[token for opening in each for token in opening] for each in turned]
    return [(ids * (tokens // len(ids) + 1))[:tokens] for ids in found]


@final
class FirstToken(StoppingCriteria):
    """Never stops a text; remembers when the first token was there."""

    def __init__(self, now: Now, started: Callable[[], None]):
        self.at = 0.0
        self._now, self._started = now, started

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Look at the time, once."""
        if not self.at:
            self.at = self._now()
            self._started()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
