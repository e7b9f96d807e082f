"""Rewards, models, judges and data that do not fit: mismatched, damaged, misbehaving."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import trimtab
from tiny import tiny_lm, tiny_reward
from torture.call_world import World, accepts, refuses
from torture.tables.calls_arguments import QUICK, SHORT
from trimtab import judges, rewards, steering, training
from trimtab.engines.torch.engine import TorchEngine
from trimtab.models.frozen_lm import FrozenLM


def other_vocabulary(w: World) -> Any:
    """Steer a transformers model that has another vocabulary than the reward."""
    model = tiny_lm("llama").model
    model.resize_token_embeddings(32)
    processor = trimtab.SteeringProcessor(w.steer, top_k=5)
    return model.generate(torch.tensor([[3, 4]]), logits_processor=[processor], max_new_tokens=3)


def embeddings_only(w: World) -> Any:
    """Generate from embeddings, without token ids."""
    embedded = w.lm.model.get_input_embeddings()(torch.tensor([[3, 4]]))
    processor = trimtab.SteeringProcessor(w.steer)
    return w.lm.model.generate(inputs_embeds=embedded, logits_processor=[processor], max_new_tokens=3)


def nan_reward(w: World) -> Any:
    """Steer by a reward whose head is NaN."""
    broken = tiny_reward(w.frozen, "q", seed=5)
    with torch.no_grad():
        for name, weight in broken.network.named_parameters():
            if name.startswith("head."):
                weight.fill_(float("nan"))
    return w.lm.generate("w1", broken.toward(5.0), **SHORT)


def foreign(w: World) -> Any:
    """A reward of another tokenizer."""
    return tiny_reward(w.frozen, "q", tokenizer_fingerprint="0" * 16)


def judged(value: Any) -> Callable[[World], Any]:
    """A search with a judge that returns a value."""
    return lambda w: w.lm.rewind("w1", lambda prompt, text: value, settings=QUICK, seed=1)


REWARDS = [
    refuses("a reward of another tokenizer", lambda w: w.lm.generate("w1", foreign(w).toward(5.0), **SHORT)),
    refuses("best-of by a reward of another tokenizer", lambda w: w.lm.best_of("w1", 2, foreign(w), **SHORT)),
    refuses(
        "search by a reward of another tokenizer", lambda w: w.lm.rewind("w1", foreign(w).toward(1.0), settings=QUICK)
    ),
    refuses("a NaN reward", nan_reward),
    refuses("a V-head over the whole vocabulary", lambda w: w.lm.generate("w1", w.v.toward(5.0), top_k=None, **SHORT)),
    refuses("another vocabulary in transformers", other_vocabulary),
    refuses("embeddings in transformers", embeddings_only),
    refuses("toward and away", lambda w: w.lm.generate("w1", w.q.toward(2.0) + w.q.away(2.0), **SHORT)),
    refuses("toward twice, one below 0", lambda w: w.lm.generate("w1", w.q.toward(2.0) + w.q.toward(-2.0), **SHORT)),
    refuses("stream by what cancels", lambda w: [*w.lm.stream("w1", w.q.toward(2.0) + w.q.away(2.0), **SHORT)]),
    refuses("a steer of nothing", lambda w: w.lm.generate("w1", trimtab.Steer(()), **SHORT)),
    refuses("one candidate", lambda w: w.lm.generate("w1", w.q.toward(2.0), top_k=1, **SHORT)),
    refuses("best-of by β = 0", lambda w: w.lm.best_of("w1", 2, w.q.toward(0), **SHORT)),
    refuses("toward(1e-30)", lambda w: w.q.toward(1e-30)),
    refuses("toward(clamp of nothing)", lambda w: w.q.toward(1.0, clamp=(0.5, 0.5 + 1e-12))),
    refuses("toward(clamp outside)", lambda w: w.q.toward(1.0, clamp=(2.0, 3.0))),
    refuses("toward(clamp swapped)", lambda w: w.q.toward(1.0, clamp=(1.0, 0.0))),
    refuses("toward(clamp of NaN)", lambda w: w.q.toward(1.0, clamp=(float("nan"), 1.0))),
    refuses("toward(clamp of one)", lambda w: w.q.toward(1.0, clamp=(1.0,))),
    refuses("toward(clamp of texts)", lambda w: w.q.toward(1.0, clamp=("0", "1"))),
    refuses("toward(attribute=0)", lambda w: w.q.toward(1.0, 0)),
    refuses(
        "Term(attribute out of range)", lambda w: w.lm.generate("w1", trimtab.Steer((steering.Term(w.q, 7, 1.0),)))
    ),
    refuses("Term(attribute below 0)", lambda w: w.lm.generate("w1", trimtab.Steer((steering.Term(w.q, -1, 1.0),)))),
    refuses("Term(reward=name)", lambda w: steering.Term("sentiment", 0, 1.0)),
    refuses("Steer(list of rewards)", lambda w: trimtab.Steer((w.q,))),
    refuses("an unknown attribute", lambda w: w.q.toward(1.0, "nobody")),
    refuses("score([])", lambda w: w.q.score([])),
    refuses("score([''])", lambda w: w.q.score([""])),
    refuses("score(dict)", lambda w: w.q.score({"text": "w1"})),
    refuses("save over a file", lambda w: w.q.save_pretrained("notes.txt")),
    refuses("save into a folder of others", lambda w: w.q.save_pretrained("folder")),
    refuses("save below a file", lambda w: w.q.save_pretrained("notes.txt/reward")),
    refuses("save under a long name", lambda w: w.q.save_pretrained("x" * 300)),
    refuses("save under a NUL", lambda w: w.q.save_pretrained("a\0b")),
    refuses("save as nonsense dtype", lambda w: w.q.save_pretrained("new", "int3")),
    refuses("save to None", lambda w: w.q.save_pretrained(None)),
    refuses("RewardCard()", lambda w: rewards.RewardCard()),
    refuses("RewardCard.from_json(None)", lambda w: rewards.RewardCard.from_json(None)),
    refuses("RewardCard.from_json('[')", lambda w: rewards.RewardCard.from_json("[" * 100_000)),
    refuses("RewardCard.from_json('NaN')", lambda w: rewards.RewardCard.from_json("NaN")),
    *(
        refuses(f"reward({name})", lambda w, name=name: trimtab.reward(f"broken_rewards/{name}", w.lm))
        for name in (
            "flipped",
            "one_flipped",
            "cut",
            "no_weights",
            "no_card",
            "infinite",
            "nan",
            "renamed",
            "card_layers",
            "card_rank",
            "card_attributes",
            "card_text_deep",
            "card_text_list",
            "card_base",
            "card_bos_token_id",
        )
    ),
    *(
        refuses(f"load({name})", lambda w, name=name: trimtab.load(f"broken/{name}"))
        for name in (
            "no_weights",
            "cut_weights",
            "flipped_weights",
            "no_tokenizer",
            "no_config",
            "bad_config",
            "deep_config",
            "bert",
            "t5",
            "junk.gguf",
            "empty.gguf",
            "folder.gguf",
        )
    ),
    accepts(
        "a tokenizer may have more tokens than its model, as Gemma 3's has; text that uses them is refused",
        "load(more_words)",
        lambda w: trimtab.load("broken/more_words").generate("w1 w2"),
    ),
    refuses("a word that the model does not know", lambda w: trimtab.load("broken/more_words").generate("w1 w100")),
]
JUDGED = [
    accepts("the default question", "judge self:", lambda w: judges.as_judge("self:")),
    *(
        refuses(f"a judge returns {value!r}"[:60], judged(value))
        for value in (None, "good", float("nan"), float("inf"), 2, -1, [1], {}, 1j, 10**400, b"1", object)
    ),
    accepts("True is 1", "a judge returns True", judged(True)),
    refuses("a judge returns a tensor", judged(torch.tensor(0.5))),
    refuses("a judge of one argument", lambda w: w.lm.rewind("w1", lambda text: 1.0, settings=QUICK)),
    refuses("a judge of no argument", lambda w: w.lm.rewind("w1", lambda: 1.0, settings=QUICK)),
    *(
        refuses(f"judge {text!r}", lambda w, text=text: judges.as_judge(text))
        for text in (
            "",
            "selfish",
            "self:nobody",
            "self:question.toml",
            "self:deep.toml",
            "self:folder",
            "vader",
        )
    ),
    *(
        refuses(f"load_judge({text!r})", lambda w, text=text: judges.load_judge(text))
        for text in (
            "",
            ":",
            "onnx:",
            "reward:",
            "reward:nowhere",
            "reward:broken_rewards/nan",
            "vadr",
            "lm",
            "\x1b[31m",
        )
    ),
    refuses(
        "TextJudge(returns too few)",
        lambda w: w.lm.rewind("w1", judges.TextJudge("few", lambda texts: []), settings=QUICK),
    ),
    refuses(
        "TextJudge(returns texts)",
        lambda w: w.lm.rewind("w1", judges.TextJudge("texts", lambda texts: ["good"] * len(texts)), settings=QUICK),
    ),
]
TRAINED = [
    refuses(
        "train_from_labels(no rows)",
        lambda w: training.train_from_labels(
            w.frozen, ["a"], [], [], training.Recipe(bf16=False), training.LabelSettings()
        ),
    ),
    refuses(
        "train_from_labels(texts)",
        lambda w: training.train_from_labels(
            w.frozen, ["a"], ["w1"], ["w2"], training.Recipe(bf16=False), training.LabelSettings()
        ),
    ),
    refuses(
        "train_from_labels(NaN labels)",
        lambda w: training.train_from_labels(
            w.frozen,
            ["a"],
            [training.LabelledText("w1", (float("nan"),))] * 4,
            [training.LabelledText("w1", (1.0,))] * 4,
            training.Recipe(bf16=False),
            training.LabelSettings(),
        ),
    ),
    refuses(
        "train_from_labels(labels of 5)",
        lambda w: training.train_from_labels(
            w.frozen,
            ["a"],
            [training.LabelledText("w1", (5.0,))] * 4,
            [training.LabelledText("w1", (1.0,))] * 4,
            training.Recipe(bf16=False),
            training.LabelSettings(),
        ),
    ),
    refuses(
        "train_from_labels(model name)",
        lambda w: training.train_from_labels("lm", ["a"], [], [], training.Recipe(), training.LabelSettings()),
    ),
    refuses(
        "train_from_pairs(no rows)",
        lambda w: training.train_from_pairs(
            w.frozen, "a", [], [], training.Recipe(bf16=False), training.PairSettings()
        ),
    ),
    refuses("Recipe(lora_rank=0)", lambda w: training.Recipe(lora_rank=0)),
    refuses("Recipe(trunk='own')", lambda w: training.Recipe(trunk="own")),
    refuses("LabelSettings('hinge')", lambda w: training.LabelSettings("hinge")),
    refuses("DistilSettings(candidates=0)", lambda w: training.DistilSettings(candidates=0)),
    refuses("RunFolder(1)", lambda w: training.RunFolder(1)),
    refuses("LabelledText(1)", lambda w: training.LabelledText(1)),
    *(
        refuses(f"read_labelled({name})", lambda w, name=name: training.read_labelled(name, ["label"]))
        for name in (
            "nowhere.jsonl",
            "deep.jsonl",
            "binary.jsonl",
            "empty.jsonl",
            "folder",
            "truncated.jsonl.gz",
        )
    ),
]
OTHERS = [
    accepts(
        "the row of 400 digits is skipped and named",
        "read_labelled(long_number.csv)",
        lambda w: training.read_labelled("long_number.csv", ["label"]),
    ),
    accepts("Path names are accepted", "load(Path)", lambda w: trimtab.load(Path("lm"))),
    accepts("Path names are accepted", "reward(Path)", lambda w: trimtab.reward(Path("rewards/q"), w.lm)),
    refuses("session of an engine that has none", lambda w: trimtab.LanguageModel(object()).session()),
    refuses("base of a scripted engine", lambda w: w.scripted.base),
    refuses(
        "a text as prompt of an own engine, over its context",
        lambda w: trimtab.LanguageModel(TorchEngine(w.frozen)).generate(["w1", "w1 " * 200]),
    ),
    refuses("FrozenLM of a body", lambda w: FrozenLM(w.frozen.body, w.lm.tokenizer, "body")),
]
CALLS = [*REWARDS, *JUDGED, *TRAINED, *OTHERS]
