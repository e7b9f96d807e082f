"""A checked request: what the engine is asked for, and what the response repeats."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from trimtab.best_of import check_ranking, within_context
from trimtab.checking import shown
from trimtab.engines.base import Engine, Request, require
from trimtab.engines.repeats import earlier_equals
from trimtab.engines.sampling_params import DEFAULT_TOP_K, SamplingParams, check_drafts_differ
from trimtab.engines.torch.trace import KEPT_OF_MORE, TRACE_WIDTH
from trimtab.errors import InvalidPrompt, InvalidSetting, TrimtabError
from trimtab.models.codec import Prompt, TextCodec
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.server.api_errors import APIError, as_api_error
from trimtab.server.batches import check_request
from trimtab.server.model_alias import alias_terms
from trimtab.server.reward_shelf import RewardShelf
from trimtab.server.schemas import ChatRequest, CompletionRequest, RewindFields, SamplingFields, SteerTerm
from trimtab.server.search_settings import search_settings
from trimtab.server.server_settings import ServerSettings
from trimtab.steering.steer import Steer

UNREAD_BY_SEARCHES = ("top_p", "repetition_penalty")
UNREAD_IN_PROMPTS = ("repetition_penalty", "top_p")  # the second changes no log-probability of an unsteered text
OURS = "trimtab"  # the field of what OpenAI does not have
MAX_TRACED = 2_000_000  # candidates in the trace of a response; each takes about a kilobyte
SEED_BITS = 53  # a number that JavaScript reads exactly
Kind = Literal["text_completion", "chat.completion"]
PROMPT_FIELDS: dict[Kind, str] = {"text_completion": "prompt", "chat.completion": "messages"}
Given = Prompt | list[int]


@final
@dataclass(frozen=True)
class Call:
    """One HTTP request that passed all checks.

    Attributes:
        kind: of the response's objects.
        model: the name that the client gave.
        requests: one for each prompt.
        prompts: as the client gave them.
        kept: how many samples of each prompt are returned; fewer than are written if they are ranked.
        ranking: the rewards that rank drafts; None for no ranking.
        search: how the text is searched; None if it is sampled.
        search_settings: of such a search.
        judge: the rewards that judge a search; None if the model does.
        steer: the sum of the alias and the field `steer`.
        logprobs: candidates per token whose log-probabilities are returned; None for no log-probabilities.
        trace: whether each token's candidates are returned.
        echo: whether the prompt is returned in front of the text.
        include_usage: whether a stream ends with the usage.
        id: of the response.
        created: seconds since 1970.
    """

    kind: Kind
    model: str
    prompts: tuple[Given, ...]
    requests: tuple[Request, ...]
    kept: int
    ranking: Steer | None
    search: RewindFields | None
    search_settings: RewindSettings | None
    judge: Steer | None
    steer: Steer | None
    logprobs: int | None
    trace: bool
    echo: bool
    include_usage: bool
    id: str
    created: int

    @property
    def params(self) -> SamplingParams:
        """How every prompt is sampled."""
        return self.requests[0].params

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(len(request.prefix) for request in self.requests)

    @property
    def prompt_field(self) -> str:
        """The request's field that holds the prompt."""
        return PROMPT_FIELDS[self.kind]


@final
@dataclass(frozen=True)
class Intake:
    """Turns bodies into calls. Nothing here waits or changes.

    Attributes:
        engine: encodes prompts and knows its limits.
        shelf: the registered rewards.
        settings: the server's limits.
        served: the model's public name.
    """

    engine: Engine
    shelf: RewardShelf
    settings: ServerSettings
    served: str

    def completion(self, body: CompletionRequest) -> Call:
        """The call of `POST /v1/completions`.

        Raises:
            APIError: 400 or 404; it names the field.
        """
        limit = self._limit(body.max_tokens, "max_tokens", default=min(16, self.settings.max_tokens))
        return self._call("text_completion", body, body.prompt, limit, body.logprobs)

    def chat(self, body: ChatRequest) -> Call:
        """The call of `POST /v1/chat/completions`. Errors as in `completion`."""
        if body.max_tokens is not None and body.max_completion_tokens not in (None, body.max_tokens):
            raise APIError(
                400,
                f"got max_tokens={body.max_tokens} and max_completion_tokens={body.max_completion_tokens}, expected "
                "one of them: both name one limit",
                "max_tokens",
                "invalid_value",
            )
        field = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
        limit = self._limit(getattr(body, field), field, default=self.settings.max_tokens)
        if body.top_logprobs is not None and not body.logprobs:
            raise APIError(400, "got top_logprobs without logprobs, expected logprobs: true", "top_logprobs")
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        return self._call("chat.completion", body, [body.conversation()], limit, logprobs)

    def _limit(self, given: int | None, field: str, default: int) -> int:
        if given is not None and given > self.settings.max_tokens:
            raise APIError(
                400, f"got {field}={given}, expected at most {self.settings.max_tokens}", field, "invalid_value"
            )
        return given or default

    def _call(
        self, kind: Kind, body: SamplingFields, prompts: Sequence[Given], limit: int, logprobs: int | None
    ) -> Call:
        steer = self._steer(body)
        check_speculate(body, self.settings)
        params = sampling_of(body, limit)
        ranking = self._ranking(body, params)
        judge = self._judge(body, prompts)
        if ranking is not None:
            params = self._drafts(body, params, len(prompts))
        self._check_rows(len(prompts), params, ranking)
        trace = body.trimtab is not None and body.trimtab.trace
        echo = isinstance(body, CompletionRequest) and bool(body.echo)
        reads_prompts = echo and (logprobs is not None or trace)
        if reads_prompts:
            unread = UNREAD_IN_PROMPTS if trace or steer is not None else UNREAD_IN_PROMPTS[:1]
            check_without(body, unread, "echo and logprobs or a trace", "prompts are read without it")
        try:
            requests = self._requests(prompts, params, steer, body.seed)
            if ranking is not None:
                requests = tuple(within_context(self.engine, ranking, request) for request in requests)
            if trace:
                check_trace(requests, body.n or 1, echo, self.engine.vocabulary_size)
            if reads_prompts:
                require(self.engine, ["read"], "echo with logprobs or a trace")
        except TrimtabError as error:
            raise as_api_error(error, PROMPT_FIELDS[kind]) from error
        options = body.stream_options
        return Call(
            kind=kind,
            model=body.model or self.served,
            prompts=tuple(prompts),
            requests=requests,
            kept=body.n or 1,
            ranking=ranking,
            search=body.rewind,
            search_settings=search_settings(body, limit),
            judge=judge,
            steer=steer,
            logprobs=logprobs,
            trace=trace,
            echo=echo,
            include_usage=options is not None and options.include_usage,
            id=f"{'cmpl' if kind == 'text_completion' else 'chatcmpl'}-{secrets.token_hex(12)}",
            created=int(time.time()),
        )

    def _ranking(self, body: SamplingFields, params: SamplingParams) -> Steer | None:
        if body.best_of_reward is None:
            if body.best_of not in (None, 1, params.n):
                raise APIError(400, "got best_of without best_of_reward, expected a reward to rank by", "best_of")
            return None
        if body.best_of is not None and body.best_of < params.n:
            raise APIError(400, f"got best_of={body.best_of}, expected at least n={params.n}", "best_of")
        ranking = self._some(body.best_of_reward, "best_of_reward")
        try:
            check_ranking(self.engine, ranking)
        except TrimtabError as error:
            raise APIError(400, str(error), "best_of_reward", "invalid_value") from error
        return ranking

    def _drafts(self, body: SamplingFields, params: SamplingParams, prompts: int) -> SamplingParams:
        """The settings of drafts that are ranked: `best_of` for each prompt, or as many as fit."""
        drafts = replace(params, n=body.best_of or max(1, self.settings.max_rows // prompts))
        if drafts.n < params.n:
            message = f"got n={body.n}, expected at most {drafts.n}, the drafts of a prompt that fit"
            raise APIError(400, message, "n", "invalid_value")
        try:
            check_drafts_differ(drafts.temperature, drafts.n)
        except InvalidSetting as error:
            raise as_api_error(error) from error
        return drafts

    def _check_rows(self, prompts: int, params: SamplingParams, ranking: Steer | None) -> None:
        if params.n * prompts <= self.settings.max_rows:
            return
        field = ("n" if ranking is None else "best_of") if params.n > 1 else "prompt"
        message = f"got {prompts} prompts with n={params.n}, expected at most {self.settings.max_rows} texts in all"
        raise APIError(400, message, field, "invalid_value")

    def _requests(
        self, prompts: Sequence[Given], params: SamplingParams, steer: Steer | None, seed: int | None
    ) -> tuple[Request, ...]:
        """What the engine is asked for. Raises TrimtabError: it cannot write one of them."""
        prefixes = [prefix_of(self.engine.codec, prompt, self.engine.vocabulary_size) for prompt in prompts]
        earlier = [0] * len(prefixes) if seed is not None else earlier_equals(map(tuple, prefixes))
        requests = tuple(
            Request(ids, params, steer, first_sample=params.n * before)
            for ids, before in zip(prefixes, earlier, strict=True)
        )
        for request in requests:
            check_request(self.engine, request)
        return requests

    def _judge(self, body: SamplingFields, prompts: Sequence[Given]) -> Steer | None:
        if body.rewind is None:
            return None
        if body.best_of_reward is not None or (body.n or 1) > 1 or len(prompts) > 1 or token_ids(prompts[0]):
            raise APIError(
                400, "got rewind, expected with it one prompt of text, n of 1 and no best_of_reward", "rewind"
            )
        check_without(body, UNREAD_BY_SEARCHES, "rewind", "no search has it")
        if body.rewind.judge_rewards and "judge" in body.rewind.model_fields_set:
            raise APIError(400, "got judge and judge_rewards, expected one of them", "rewind.judge", "invalid_value")
        if body.rewind.judge_rewards is None:
            return None
        return self._some(body.rewind.judge_rewards, "rewind.judge_rewards")

    def _some(self, terms: Mapping[str, SteerTerm], field: str) -> Steer:
        """The steer of a field that stands there to name rewards that score whole texts.

        Raises:
            APIError: 400, it names none, or has a `min_entropy`, which is of tokens; or as in `RewardShelf.steer`.
        """
        steer = self.shelf.steer(terms, field)
        if steer is None:
            raise APIError(400, f"got an empty {field}, expected rewards, or no such field", field, "invalid_value")
        if any(term.min_entropy for term in terms.values()):
            message = f"got min_entropy in {field}, expected it in steer only: whole texts are scored"
            raise APIError(400, message, field, "invalid_value")
        return steer

    def _steer(self, body: SamplingFields) -> Steer | None:
        named = [self.shelf.steer({name: term}, "model") for name, term in alias_terms(body.model, self.served)]
        steers = [steer for steer in (*named, self.shelf.steer(body.steer or {})) if steer is not None]
        return Steer(tuple(term for steer in steers for term in steer.terms)) if steers else None


def sampling_of(body: SamplingFields, limit: int) -> SamplingParams:
    """A body's fields as the library's settings. `top_p` of 1 is no limit; null means the default."""
    return SamplingParams(
        n=body.n or 1,
        top_k=DEFAULT_TOP_K if body.top_k is None else body.top_k,
        top_p=None if body.top_p == 1 else body.top_p,
        temperature=1.0 if body.temperature is None else float(body.temperature),
        max_new_tokens=limit,
        stop=body.stop or (),
        seed=secrets.randbits(SEED_BITS) if body.seed is None else body.seed,
        max_kl=body.max_kl,
        repetition_penalty=body.repetition_penalty,
        speculate=body.speculate,
    )


def check_without(body: SamplingFields, fields: Sequence[str], beside: str, reason: str) -> None:
    """Refuse fields that have no effect beside another one. 1 and null are their defaults.

    Raises:
        APIError: 400.
    """
    if given := [name for name in fields if getattr(body, name) not in (None, 1)]:
        message = f"got {given[0]} with {beside}, expected it without: {reason}"
        raise APIError(400, message, given[0], "invalid_value")


def check_speculate(body: SamplingFields, settings: ServerSettings) -> None:
    """Refuse drafts that the server does not allow.

    Raises:
        APIError: 400.
    """
    if body.speculate is not None and body.speculate not in settings.speculate:
        allowed = " or ".join(settings.speculate) or "no such field: this server drafts nothing"
        raise APIError(400, f"got speculate={shown(body.speculate)}, expected {allowed}", "speculate", "invalid_value")


def check_trace(requests: Sequence[Request], kept: int, echo: bool, vocabulary_size: int) -> None:
    """Refuse a trace that may fill the memory.

    Args:
        requests: one for each prompt.
        kept: how many samples of each are returned.
        echo: whether the prompts are, too.
        vocabulary_size: of the model.

    Raises:
        APIError: 400; the message says what to lower.
    """
    params = requests[0].params
    width = params.top_k or vocabulary_size
    tokens = sum(params.max_new_tokens + echo * len(request.prefix) for request in requests)
    candidates = kept * tokens * (width if width <= TRACE_WIDTH else KEPT_OF_MORE)
    if candidates > MAX_TRACED:
        message = (
            f"got a trace of up to {candidates} candidates, expected at most {MAX_TRACED}: lower n, the number of "
            "prompts, max_tokens or top_k"
        )
        raise APIError(400, message, f"{OURS}.trace", "invalid_value")


def prefix_of(codec: TextCodec, prompt: Given, vocabulary_size: int) -> list[int]:
    """The token ids of a prompt.

    Raises:
        InvalidPrompt: it is empty or too long, or has a token id that the model does not know.
    """
    ids = token_ids(prompt)
    if not ids:
        return codec.encode_prompt(prompt)  # type: ignore[arg-type]
    if wrong := [token for token in ids if token >= vocabulary_size]:
        raise InvalidPrompt(f"got the token id {shown(wrong[0])}, expected one below {vocabulary_size}")
    if len(ids) >= codec.context_length:
        raise InvalidPrompt(f"got a prompt of {len(ids)} tokens, expected 1 to {codec.context_length - 1}")
    return ids


def token_ids(prompt: Given) -> list[int]:
    """A prompt that is token ids; empty if it is a text or a conversation."""
    return [each for each in prompt if isinstance(each, int)] if isinstance(prompt, list) else []
