"""Every ugly value for every argument of the public face. `takes` names the values that are fine, and why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

import trimtab
from torture.call_world import Call, World
from torture.tables.ugly import VALUES
from trimtab import judges, rewards, steering, training

SHORT = {"max_new_tokens": 3, "seed": 1}
QUICK = trimtab.RewindSettings(max_new_tokens=2, iterations=2, fresh_iterations=1, children=2, max_children=2)
NOTHING = {"None": "the default"}
CHOICE = {**NOTHING, "True": "one of the two choices"}
ONE_NONE = {**NOTHING, "[None]": "one value for the one prompt"}
WHOLE = {"numpy int": "a whole number"}
SEEDS = {**NOTHING, **WHOLE, "-1": "a seed is hashed", "0": "a seed"}
JUDGES = {"function": "a judge of two texts", "class": "a class can be called; what it raises is its own"}
TEXTS = {
    "text": "a text",
    "escape": "a text; shown escaped",
    "text subclass": "a text",
}


@final
@dataclass(frozen=True)
class Argument:
    """An argument of a public call.

    Attributes:
        name: the call and the argument.
        make: calls with a value.
        takes: the ugly values that it takes, and why that is harmless.
        leaves_out: values that are a user's own function, whose errors are the user's own too.
    """

    name: str
    make: Callable[[World, Any], Any]
    takes: dict[str, str] = field(default_factory=dict)
    leaves_out: tuple[str, ...] = ()

    def calls(self) -> list[Call]:
        """A call for each ugly value."""
        return [
            Call(f"{self.name} = {value}", partial(self._make, value), self.takes.get(value))
            for value in VALUES
            if value not in self.leaves_out
        ]

    def _make(self, value: str, world: World) -> Any:
        return self.make(world, VALUES[value]())


LOADING = [
    Argument("load(name)", lambda w, v: trimtab.load(v)),
    Argument("load(device)", lambda w, v: trimtab.load("lm", device=v), {**NOTHING, "empty text": "the default"}),
    Argument("load(dtype)", lambda w, v: trimtab.load("lm", dtype=v), NOTHING),
    Argument("from_transformers(model)", lambda w, v: trimtab.from_transformers(v, w.lm.tokenizer)),
    Argument("from_transformers(tokenizer)", lambda w, v: trimtab.from_transformers(w.lm.model, v)),
    Argument(
        "from_transformers(name)",
        lambda w, v: trimtab.from_transformers(w.lm.model, w.lm.tokenizer, v),
        {
            **NOTHING,
            **TEXTS,
            "long text": "a text",
            "empty text": "the default",
            "surrogate": "a text; written escaped",
        },
    ),
    Argument(
        "from_transformers(chat_template_kwargs)",
        lambda w, v: trimtab.from_transformers(w.lm.model, w.lm.tokenizer, chat_template_kwargs=v),
        {**NOTHING, "{}": "no variables"},
    ),
    Argument("reward(name)", lambda w, v: trimtab.reward(v, w.lm)),
    Argument("reward(lm)", lambda w, v: trimtab.reward("rewards/q", v), NOTHING),
    Argument("reward(merge_adapters)", lambda w, v: trimtab.reward("rewards/q", w.lm, v), CHOICE),
    Argument("LanguageModel(engine)", lambda w, v: trimtab.LanguageModel(v)),
]
WRITING = [
    Argument(
        "generate(prompts)",
        lambda w, v: w.lm.generate(v, **SHORT),
        TEXTS,
    ),
    Argument("generate([prompts])", lambda w, v: w.lm.generate(["w1", v], **SHORT), TEXTS),
    Argument("generate(steer)", lambda w, v: w.lm.generate("w1", v, **SHORT), ONE_NONE),
    Argument("generate([steer])", lambda w, v: w.lm.generate(["w1", "w2"], [w.steer, v], **SHORT), NOTHING),
    Argument("generate(params)", lambda w, v: w.lm.generate("w1", None, v), ONE_NONE),
    Argument("generate(n)", lambda w, v: w.lm.generate("w1", n=v, max_new_tokens=2), WHOLE),
    Argument(
        "generate(stop)",
        lambda w, v: w.lm.generate("w1", stop=v, **SHORT),
        {
            **NOTHING,
            **TEXTS,
            "empty text": "stops nothing",
            "long text": "a text",
            "[]": "no stop strings",
        },
    ),
    Argument("generate(seed)", lambda w, v: w.lm.generate("w1", seed=v, max_new_tokens=2), SEEDS),
    Argument("chat(messages)", lambda w, v: w.chat.chat(v, **SHORT)),
    Argument("chat([message])", lambda w, v: w.chat.chat([v], **SHORT), {"dict": "a message"}),
    Argument("chat(role)", lambda w, v: w.chat.chat([{"role": v, "content": "w1"}], **SHORT)),
    Argument("chat(content)", lambda w, v: w.chat.chat([{"role": "user", "content": v}], **SHORT), TEXTS),
    Argument(
        "chat(chat_template_kwargs)",
        lambda w, v: w.chat.chat([{"role": "user", "content": "w1"}], chat_template_kwargs=v, **SHORT),
        {**NOTHING, "{}": "no variables", "dict": "the template has both words"},
    ),
    Argument("stream(prompt)", lambda w, v: w.lm.stream(v, **SHORT), TEXTS),
    Argument("stream(steer)", lambda w, v: w.lm.stream("w1", v, **SHORT), ONE_NONE),
    Argument(
        "best_of(prompts)",
        lambda w, v: w.lm.best_of(v, 2, w.q, **SHORT),
        TEXTS,
    ),
    Argument("best_of(n)", lambda w, v: w.lm.best_of("w1", v, w.q, **SHORT), WHOLE),
    Argument("best_of(by)", lambda w, v: w.lm.best_of("w1", 2, v, **SHORT)),
    Argument(
        "rewind(prompts)",
        lambda w, v: w.lm.rewind(v, w.steer, settings=QUICK, seed=1),
        TEXTS,
    ),
    Argument("rewind(judge)", lambda w, v: w.lm.rewind("w1", v, settings=QUICK, seed=1), leaves_out=("class",)),
    Argument("rewind(steer)", lambda w, v: w.lm.rewind("w1", w.steer, v, settings=QUICK, seed=1), NOTHING),
    Argument(
        "rewind(settings)",
        lambda w, v: w.lm.rewind("w1", w.steer, None, v, budget=trimtab.Budget(max_iterations=1)),
        NOTHING,
    ),
    Argument("rewind(similarity)", lambda w, v: w.lm.rewind("w1", w.steer, settings=QUICK, seed=1, similarity=v)),
    Argument(
        "rewind(stop)",
        lambda w, v: w.lm.rewind("w1", w.steer, settings=QUICK, seed=1, stop=v),
        {
            **NOTHING,
            **TEXTS,
            "empty text": "stops nothing",
            "long text": "a text",
            "[]": "no stop strings",
        },
    ),
    Argument("rewind(seed)", lambda w, v: w.lm.rewind("w1", w.steer, settings=QUICK, seed=v), SEEDS),
    Argument("rewind(budget)", lambda w, v: w.lm.rewind("w1", w.steer, settings=QUICK, seed=1, budget=v), NOTHING),
    Argument(
        "rewind(progress)",
        lambda w, v: w.lm.rewind("w1", w.steer, settings=QUICK, seed=1, progress=v),
        {**NOTHING, "function": "is called"},
        ("class",),
    ),
]
SETTINGS = [
    Argument("SamplingParams(n)", lambda w, v: trimtab.SamplingParams(n=v), WHOLE),
    Argument(
        "SamplingParams(top_k)",
        lambda w, v: trimtab.SamplingParams(top_k=v),
        {**NOTHING, **WHOLE, "0": "no limit", "10**400": "checked when it is used"},
    ),
    Argument(
        "SamplingParams(top_p)",
        lambda w, v: trimtab.SamplingParams(top_p=v),
        {**NOTHING, "0.5": "a share"},
    ),
    Argument(
        "SamplingParams(temperature)",
        lambda w, v: trimtab.SamplingParams(temperature=v),
        {**WHOLE, "0": "greedy", "0.5": "a number"},
    ),
    Argument(
        "SamplingParams(max_kl)",
        lambda w, v: trimtab.SamplingParams(max_kl=v),
        {**NOTHING, **WHOLE, "0": "no steering", "0.5": "nats"},
    ),
    Argument(
        "SamplingParams(repetition_penalty)",
        lambda w, v: trimtab.SamplingParams(repetition_penalty=v),
        {**NOTHING, **WHOLE, "0.5": "a number"},
    ),
    Argument(
        "SamplingParams(no_repeat_ngram_size)",
        lambda w, v: trimtab.SamplingParams(no_repeat_ngram_size=v),
        {**NOTHING, **WHOLE, "0": "no limit"},
    ),
    Argument(
        "SamplingParams(max_new_tokens)",
        lambda w, v: trimtab.SamplingParams(max_new_tokens=v),
        WHOLE,
    ),
    Argument(
        "SamplingParams(stop)",
        lambda w, v: trimtab.SamplingParams(stop=v),
        {
            **NOTHING,
            **TEXTS,
            "empty text": "stops nothing",
            "long text": "a text",
            "[]": "no stop strings",
        },
    ),
    Argument("SamplingParams(seed)", lambda w, v: trimtab.SamplingParams(seed=v), SEEDS),
    *(
        Argument(f"RewindSettings({name})", lambda w, v, name=name: trimtab.RewindSettings(**{name: v}), takes)
        for name, takes in {
            "max_new_tokens": WHOLE,
            "iterations": WHOLE,
            "children": WHOLE,
            "temperature": {"0.5": "a number", **WHOLE},
            "exploration": {"0": "no exploration", "0.5": "a weight", **WHOLE},
            "uniform": {"0": "a share", "0.5": "a share"},
            "min_value": {"-1": "a score", "0": "a score", "0.5": "a score", **WHOLE},
            "similarity_threshold": {
                "-1": "a similarity",
                "0": "a similarity",
                "0.5": "a similarity",
                **WHOLE,
            },
            "lengths": {},
        }.items()
    ),
    Argument(
        "Budget(max_iterations)",
        lambda w, v: trimtab.Budget(max_iterations=v),
        {**NOTHING, **WHOLE},
    ),
    Argument(
        "Budget(max_seconds)",
        lambda w, v: trimtab.Budget(max_seconds=v),
        {**NOTHING, **WHOLE, "0.5": "seconds"},
    ),
    *(
        Argument(f"Recipe({name})", lambda w, v, name=name: training.Recipe(**{name: v}), takes)
        for name, takes in {
            "head": {},
            "epochs": {"0.5": "half a pass", **WHOLE},
            "rank": WHOLE,
            "learning_rate": {**NOTHING, "0.5": "a rate", **WHOLE},
            "seed": {"0": "a seed", **WHOLE},
            "bf16": {"True": "the default"},
            "start": {
                **NOTHING,
                **TEXTS,
                "surrogate": "looked up when it is used",
                "long text": "looked up when it is used",
            },
            "clip": {"0": "no limit", "0.5": "a norm", **WHOLE},
        }.items()
    ),
]
STEERS = [
    Argument(
        "toward(beta)",
        lambda w, v: w.q.toward(v),
        {"0": "no steering", "0.5": "a strength", "-1": "the other way", **WHOLE},
    ),
    Argument("toward(attribute)", lambda w, v: w.q.toward(1.0, v), NOTHING),
    Argument("toward(clamp)", lambda w, v: w.q.toward(1.0, None, v), NOTHING),
    Argument(
        "toward(min_entropy)", lambda w, v: w.q.toward(1.0, min_entropy=v), {"0": "always", "0.5": "nats", **WHOLE}
    ),
    Argument(
        "away(beta)",
        lambda w, v: w.q.away(v),
        {"0": "no steering", "0.5": "a strength", "-1": "the other way", **WHOLE},
    ),
    Argument("steer +", lambda w, v: w.steer + v),
    Argument("sum of steers", lambda w, v: sum([w.steer, v], start=w.steer)),
    Argument("Steer(terms)", lambda w, v: trimtab.Steer(v)),
    Argument("Term(reward)", lambda w, v: steering.Term(v, 0, 1.0)),
    Argument(
        "Term(attribute)",
        lambda w, v: steering.Term(w.q, v, 1.0),
        {"0": "a column"},
    ),
    Argument("parse_steer", lambda w, v: steering.parse_steer(v)),
    Argument("SteeringProcessor(steer)", lambda w, v: trimtab.SteeringProcessor(v)),
    Argument(
        "SteeringProcessor(top_k)",
        lambda w, v: trimtab.SteeringProcessor(w.steer, top_k=v),
        {**NOTHING, **WHOLE, "0": "no limit", "10**400": "checked in the first call"},
    ),
    Argument(
        "SteeringProcessor(pad_token_id)",
        lambda w, v: trimtab.SteeringProcessor(w.steer, pad_token_id=v),
        {**NOTHING, **WHOLE, "0": "a token"},
    ),
    Argument("score(texts)", lambda w, v: w.q.score(v), {**TEXTS}),
    Argument("score_prefixes(texts)", lambda w, v: w.q.score_prefixes(v), {**TEXTS}),
    Argument("score([texts])", lambda w, v: w.q.score(["w1", v]), {**TEXTS}),
    Argument("load_reward(name)", lambda w, v: rewards.load_reward(v)),
    Argument("load_reward(lm)", lambda w, v: rewards.load_reward("rewards/q", v), NOTHING),
    Argument("load_reward(merge_adapters)", lambda w, v: rewards.load_reward("rewards/q", w.frozen, v), CHOICE),
    Argument("load_steers(texts)", lambda w, v: rewards.load_steers(v), {"[]": "no steer"}),
    Argument("load_steers(method)", lambda w, v: rewards.load_steers(["rewards/q=1"], v), NOTHING),
    Argument("read_card(folder)", lambda w, v: rewards.read_card(v)),
    Argument("as_judge", lambda w, v: judges.as_judge(v), JUDGES),
    Argument("load_judge(spec)", lambda w, v: judges.load_judge(v)),
    Argument("FunctionJudge(function)", lambda w, v: judges.FunctionJudge(v), JUDGES),
    Argument("read_labelled(source)", lambda w, v: training.read_labelled(v, ["label"])),
    Argument(
        "read_labelled(columns)",
        lambda w, v: training.read_labelled("labels.jsonl", v),
        {"[]": "texts without labels, for a teacher"},
    ),
    Argument("read_pairs(source)", lambda w, v: training.read_pairs(v)),
]
CALLS = [call for argument in (*LOADING, *WRITING, *SETTINGS, *STEERS) for call in argument.calls()]
