"""The public face: a frozen language model that is steered while it writes, and what it has written."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Unpack, cast, final, overload

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trimtab.best_of import RankedDrafts, check_ranking, limited, rank_drafts
from trimtab.best_of_settings import Segments, best_of_facts
from trimtab.checking import checked, checked_except, shown
from trimtab.engines.base import Continuation, Engine, Request, require_base
from trimtab.engines.per_prompt import as_list, per_prompt
from trimtab.engines.provenance import place_of, provenance, template_options
from trimtab.engines.sampling_params import DraftOptions, SamplingOptions, SamplingParams, check_drafts_differ
from trimtab.errors import InvalidSetting, WrongType
from trimtab.generation import Generation, Token, stream_tokens
from trimtab.judges.base import Judge
from trimtab.judges.load import JudgeLike
from trimtab.judges.ranker import Ranker
from trimtab.models.chat_template import TemplateOption
from trimtab.models.codec import Conversation, Prompt, TextCodec, TokenizerCodec, check_conversation
from trimtab.models.frozen_lm import FrozenLM
from trimtab.prefix_search import Numbered, prefix_search
from trimtab.repairs import check_repairs, repaired
from trimtab.rewards.any_reward import AnyReward
from trimtab.rewind.result import SearchResult
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.runner import RewindOptions, rewind_prompts
from trimtab.steering.steer import Steer

Steering = Steer | None | Sequence[Steer | None]
Params = SamplingParams | None | Sequence[SamplingParams]
Prompts = Sequence[Prompt]


@final
class LanguageModel:
    """A frozen language model that can be steered while it writes.

    A prompt is a text or a conversation: a list of `{"role": …, "content": …}` messages. One prompt gives one result,
    a list of prompts gives a list. Threads may share a model: they take turns, one decode step at a time.

    Args:
        engine: writes and scores. `trimtab.load` and `trimtab.from_transformers` make the torch engine.
    """

    @checked
    def __init__(self, engine: Engine):
        self.engine = engine

    def __repr__(self) -> str:
        return f"LanguageModel({self.engine.codec.name!r}, {type(self.engine).__name__})"

    @property
    def base(self) -> FrozenLM:
        """The frozen model and its tokenizer; rewards share its weights, and training starts from it.

        Raises:
            UnsupportedByEngine: the engine keeps the weights in another process.
        """
        return require_base(self.engine, "this call")

    @property
    def model(self) -> PreTrainedModel:
        """The transformers model. Errors as in `base`."""
        return self.base.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The transformers tokenizer. Errors as in `base`."""
        return self.base.tokenizer

    def session(self) -> "LanguageModel":
        """The same model with a prefix cache: later calls encode only what earlier calls did not, as in a long chat."""
        return LanguageModel(self.engine.session())

    @overload
    def generate(  # type: ignore[overload-overlap]  # a str is a Sequence[str], and means one prompt
        self,
        prompts: str,
        steer: Steer | None = None,
        params: SamplingParams | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Generation: ...

    @overload
    def generate(
        self, prompts: Prompts, steer: Steering = None, params: Params = None, **options: Unpack[SamplingOptions]
    ) -> list[Generation]: ...

    @checked_except("prompts", "steer", "params")
    def generate(
        self, prompts: str | Prompts, steer: Steering = None, params: Params = None, **options: Unpack[SamplingOptions]
    ) -> Generation | list[Generation]:
        """Continue prompts.

        Args:
            prompts: one text, or a list of texts or conversations, which are written as one batch.
            steer: one for all, or one (or None) for each prompt.
            params: how to sample: one for all, or one for each prompt; default: `SamplingParams()`.
            options: fields of `SamplingParams`, which replace those of `params`.

        Returns:
            A Generation for a text, a list of them for a list. With n > 1, `samples` holds all of a prompt.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch: before anything is written.
        """
        written = self._write(as_list(prompts), steer, params, options)
        return written[0] if isinstance(prompts, str) else written

    @checked_except("messages", "steer", "params")
    def chat(
        self,
        messages: Conversation,
        steer: Steer | None = None,
        params: SamplingParams | None = None,
        chat_template_kwargs: Mapping[str, TemplateOption] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Generation:
        """Answer one conversation, in the model's chat template.

        Args:
            messages: `{"role": "system" | "user" | "assistant", "content": …}`, the last one to be answered.
            steer, params, options: as in `generate`, which takes lists of conversations.
            chat_template_kwargs: variables of the chat template, such as `{"enable_thinking": False}`, which replace
                those that the model was loaded with.

        Raises:
            InvalidPrompt: not a list of messages.
            InvalidSetting: the model has no chat template, or the template has no such variable.
        """
        check_conversation(messages)
        codec = self.engine.codec
        if chat_template_kwargs and isinstance(codec, TokenizerCodec):
            codec = codec.with_template_options(chat_template_kwargs)
        elif chat_template_kwargs:
            raise InvalidSetting(f"got chat_template_kwargs, but {codec.name} has no chat template")
        return self._write([messages], steer, params, options, codec)[0]

    @checked_except("prompt", "steer", "params")
    def stream(
        self,
        prompt: Prompt,
        steer: Steer | None = None,
        params: SamplingParams | None = None,
        **options: Unpack[DraftOptions],
    ) -> Iterator[Token]:
        """Continue one prompt token by token; the texts joined are the text that `generate` returns.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch: before the first token.
        """
        (request,) = self._requests([prompt], steer, params, options)
        if request.params.n != 1:
            raise InvalidSetting(f"got n={request.params.n}, expected 1 to stream")
        chunks = (chunk for together in self.engine.stream([request]) for chunk in together)
        return stream_tokens(self.engine.codec, chunks, request.params.stop)

    @overload
    def best_of(  # type: ignore[overload-overlap]
        self,
        prompts: str,
        n: int,
        by: AnyReward | Steer | Ranker | Judge,
        steer: Steer | None = None,
        params: SamplingParams | None = None,
        repairs: int = 0,
        block: int | None = None,
        halve_every: int | None = None,
        segments: Segments | None = None,
        **options: Unpack[DraftOptions],
    ) -> RankedDrafts: ...

    @overload
    def best_of(
        self,
        prompts: Prompts,
        n: int,
        by: AnyReward | Steer | Ranker | Judge,
        steer: Steering = None,
        params: Params = None,
        repairs: int = 0,
        block: int | None = None,
        halve_every: int | None = None,
        segments: Segments | None = None,
        **options: Unpack[DraftOptions],
    ) -> list[RankedDrafts]: ...

    @checked_except("prompts", "by", "steer", "params")
    def best_of(
        self,
        prompts: str | Prompts,
        n: int,
        by: AnyReward | Steer | Ranker | Judge,
        steer: Steering = None,
        params: Params = None,
        repairs: int = 0,
        block: int | None = None,
        halve_every: int | None = None,
        segments: Segments | None = None,
        **options: Unpack[DraftOptions],
    ) -> RankedDrafts | list[RankedDrafts]:
        """Write n drafts of each prompt and rank them by the reward of prompt and draft.

        Args:
            prompts: one text, or a list of texts or conversations.
            n: drafts of each prompt; they share its KV cache.
            by: a reward, of which the first attribute should be high; or a Steer, whose Σ ±β · r of the whole text
                should be high; or a reward model of another library: `trimtab.judges.load_ranker("ORG/MODEL")`;
                or a judge, such as `trimtab.judges.StepJudge`.
            steer, params, options: how the drafts are written, as in `generate`.
            repairs: rounds in which drafts that fail `trimtab.judges.UnitTests` are written again, from the line of
                their error (CodeRL).
            block: write the text in blocks of this many tokens, each the best of n by the reward of the text so far
                (Controlled Decoding). One draft results.
            halve_every: after every so many tokens, end the worse half of the drafts by the reward of the text so far
                (speculative rejection). What is left are drafts of plain best-of-n.
            segments: write the text in segments that end before uncertain tokens, each at most n times, until the
                reward of the text so far is good enough (CARDS). One draft results.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch, UnsupportedByEngine: before anything is written.
        """
        if isinstance(by, type) or not isinstance(by, AnyReward | Steer | Ranker | Judge):
            raise WrongType(
                f"got by={shown(by)}, expected a reward or a Steer, trimtab.reward(NAME, lm), or a Ranker or a judge"
            )
        ranking = by.toward(1.0) if isinstance(by, AnyReward) else by
        several = as_list(prompts)
        check_ranking(self.engine, ranking, several)
        asked = self._requests(several, steer, params, cast(SamplingOptions, {**options, "n": n}))
        requests = [limited(self.engine, ranking, *each) for each in zip(several, asked, strict=True)]
        for request in requests:
            check_drafts_differ(request.params.temperature, n)
        tests = check_repairs(repairs, ranking, requests) if repairs else None
        search = prefix_search(ranking, block, halve_every, segments)
        lm = self.session() if tests is not None or search is not None else self
        how = best_of_facts(repairs, block, halve_every, segments)
        if search is not None:
            drafts = lm._numbered(several, requests, search(lm.engine, requests), how)
        else:
            drafts = [list(each.samples) for each in lm._generations(several, requests, how=how)]
        if tests is not None:
            drafts = repaired(lm.engine, tests, requests, several, drafts, repairs)
        prefixes = [request.prefix for request in requests]
        ranked = rank_drafts(self.engine, ranking, several, prefixes, drafts)
        return ranked[0] if isinstance(prompts, str) else ranked

    @overload
    def rewind(  # type: ignore[overload-overlap]
        self,
        prompts: str,
        judge: JudgeLike = "self",
        steer: Steer | None = None,
        settings: RewindSettings | None = None,
        **options: Unpack[RewindOptions],
    ) -> SearchResult: ...

    @overload
    def rewind(
        self,
        prompts: Prompts,
        judge: JudgeLike = "self",
        steer: Steer | None = None,
        settings: RewindSettings | None = None,
        **options: Unpack[RewindOptions],
    ) -> list[SearchResult]: ...

    @checked_except("prompts", "judge", "steer")
    def rewind(
        self,
        prompts: str | Prompts,
        judge: JudgeLike = "self",
        steer: Steer | None = None,
        settings: RewindSettings | None = None,
        **options: Unpack[RewindOptions],
    ) -> SearchResult | list[SearchResult]:
        """Search for continuations that a judge likes: RAIN (2309.07124). Drafts are written, judged and taken back.

        Args:
            prompts: one text, or a list of texts or conversations, which are searched together.
            judge: "self" (the model is asked whether its draft is harmless), "self:truthfulness", "self:sentiment",
                "self:FILE.toml", a Steer (rewards toward or away), a function of prompt and continuation that returns
                0 (bad) to 1 (good), or a judge of `trimtab.judges`.
            steer: one for all: its rewards shape the branches' priors and the drafts.
            settings: of the search; default: the paper's.
            options: keywords:
                similarity: compares branches: "lm" (default: the model's own hidden states), "off", or the name of a
                sentence-transformers model, such as the paper's sentence-transformers/all-MiniLM-L6-v2;
                stop: a string, or several, that end a text, such as the next human turn;
                seed: one for all, or one for each prompt. A text depends on its prompt, seed and settings only, unless
                a budget of tokens or seconds cuts it short;
                budget: a `Budget`, the most that the call may cost; the best drafts so far are returned;
                progress: a function that is called after each turn with a `SearchProgress`.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch, UnsupportedByEngine: before anything is written.
            InvalidData: a judge's score is out of range.
        """
        found = rewind_prompts(self.engine, as_list(prompts), judge, steer, settings, options)
        return found[0] if isinstance(prompts, str) else found

    def _write(
        self,
        prompts: Sequence[Prompt],
        steer: Steering,
        params: Params,
        options: SamplingOptions,
        codec: TextCodec | None = None,
    ) -> list[Generation]:
        return self._generations(prompts, self._requests(prompts, steer, params, options, codec), codec)

    def _generations(
        self,
        prompts: Sequence[Prompt],
        requests: Sequence[Request],
        codec: TextCodec | None = None,
        how: Mapping[str, object] = {},
    ) -> list[Generation]:
        place = {**place_of(self.engine), **template_options(codec or self.engine.codec), **how}
        written = self.engine.sample(requests)
        return [
            self._generation(prompt, request, continuations, place)
            for prompt, continuations, request in zip(prompts, written, requests, strict=True)
        ]

    def _numbered(
        self,
        prompts: Sequence[Prompt],
        requests: Sequence[Request],
        written: Sequence[Sequence[Numbered]],
        how: Mapping[str, object],
    ) -> list[list[Generation]]:
        """Some of the samples of each prompt, each with its number."""
        place = {**place_of(self.engine), **template_options(self.engine.codec), **how}
        return [
            [self._generation(prompt, request, [each], place, sample) for sample, each in of_prompt]
            for prompt, request, of_prompt in zip(prompts, requests, written, strict=True)
        ]

    def _generation(
        self,
        prompt: Prompt,
        request: Request,
        continuations: Sequence[Continuation],
        place: Mapping[str, object],
        sample: int = 0,
    ) -> Generation:
        made_by = partial(provenance, self.engine, request.steer, request.params, **place)
        return Generation(self.engine.codec, prompt, continuations, request.params.stop, made_by, sample)

    def _requests(
        self,
        prompts: Sequence[Prompt],
        steer: Steering,
        params: Params,
        options: SamplingOptions | DraftOptions,
        codec: TextCodec | None = None,
    ) -> list[Request]:
        if not prompts:
            raise InvalidSetting("got no prompts, expected at least one")
        steers = per_prompt(steer, Steer, prompts, "steer", "a Steer: trimtab.reward(NAME, lm).toward(beta)")
        given = per_prompt(params, SamplingParams, prompts, "params", "SamplingParams(…)")
        resolved = [SamplingParams.of(each, options) for each in given]
        encode = (codec or self.engine.codec).encode_prompt
        ids = [encode(prompt) for prompt in prompts]
        return [Request(*each) for each in zip(ids, resolved, steers, strict=True)]
