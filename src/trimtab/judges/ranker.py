"""Reward models of other libraries that rank drafts: an unbounded score of prompt and continuation."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Pipeline

from trimtab.checking import checked, shown
from trimtab.data.hub import reason_of
from trimtab.errors import InvalidPrompt, NonFiniteReward
from trimtab.judges.classifiers import judge_name, load_pipeline
from trimtab.judges.text_judges import weights_of
from trimtab.models.codec import Prompt
from trimtab.steering.notation import parse_reward

INDEPENDENT = ("regression", "multi_label_classification")  # outputs that do not exclude each other
USER, ASSISTANT = "user", "assistant"


@final
class Ranker:
    """One output of a sequence-classification model, as a scorer of drafts for best-of.

    The score is the output itself, before any sigmoid, whose rounding would tie good drafts. Of one among several
    labels that exclude each other, it is the logarithm of the probability. Compare the scores of one prompt only.

    A model with a chat template reads a conversation: the prompt is the user's message, the draft the assistant's, as
    TRL's RewardTrainer trains it. A model without one reads the prompt with the draft behind it.

    Args:
        pipeline: a transformers text-classification pipeline.
        label: one of its labels.
        name: the model's name in records.
    """

    def __init__(self, pipeline: Pipeline, label: str, name: str):
        self._model: Any = pipeline.model
        self._tokenizer: Any = pipeline.tokenizer
        labels = [str(each) for each in self._model.config.id2label.values()]
        self._column, self.label, self.name = labels.index(label), label, name
        self._excludes = len(labels) > 1 and self._model.config.problem_type not in INDEPENDENT
        self._about = weights_of(pipeline)

    def describe(self) -> dict[str, object]:
        """The model, its label and a hash of its weights."""
        return {"ranker": self.name, "label": self.label, **self._about}

    @torch.inference_mode()
    def score(self, prompt: Prompt, drafts: Sequence[str]) -> Float[Tensor, " drafts"]:
        """The score of each draft of a prompt, one forward each.

        Raises:
            InvalidPrompt: prompt and draft are longer than the model reads.
            NonFiniteReward: a score is NaN or infinite.
        """
        scores = torch.stack([self._score(self._encode(prompt, draft)) for draft in drafts])
        if not scores.isfinite().all():
            raise NonFiniteReward(
                f"got a score of {shown(self.name)} that is not finite; fetch it again, or choose another ranker"
            )
        return scores

    def _score(self, ids: list[int]) -> Float[Tensor, ""]:
        batch = torch.tensor([ids], device=self._model.device)
        logits = self._model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[0].float()
        return (logits.log_softmax(-1) if self._excludes else logits)[self._column].cpu()

    def check_prompt(self, prompt: Prompt) -> None:
        """Check that the model can read a prompt, before drafts are written.

        Raises:
            InvalidPrompt: it is too long, or the model's chat template refuses it.
        """
        self._encode(prompt, "")

    def _encode(self, prompt: Prompt, draft: str) -> list[int]:
        try:
            ids = self._read(prompt, draft)
        except Exception as error:  # a chat template may raise any error
            raise InvalidPrompt(f"got a prompt that {shown(self.name)} cannot read ({reason_of(error)})") from error
        if len(ids) > self._tokenizer.model_max_length:
            raise InvalidPrompt(
                f"got a prompt and a draft of {len(ids)} tokens, expected at most {self._tokenizer.model_max_length}, "
                f"which {shown(self.name)} reads; shorten the prompt, or lower max_new_tokens"
            )
        return ids

    def _read(self, prompt: Prompt, draft: str) -> list[int]:
        """The tokens of a prompt and a draft, as the model was trained to read them."""
        if self._tokenizer.chat_template:
            turns = [{"role": USER, "content": prompt}] if isinstance(prompt, str) else list(prompt)
            turns.append({"role": ASSISTANT, "content": draft})
            return list(self._tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False))
        opening = prompt if isinstance(prompt, str) else "".join(f"{turn['content']}\n" for turn in prompt)
        return list(self._tokenizer(opening + draft)["input_ids"])


@checked
def load_ranker(spec: str) -> Ranker:
    """Load a reward model of another library to rank drafts: `lm.best_of(prompt, n, by=load_ranker("ORG/MODEL"))`.

    Args:
        spec: `ID[:LABEL]` of a sequence-classification model, a folder or a Hub id, such as TRL's RewardTrainer writes.
            If it has one label only, that may be left out.

    Raises:
        InvalidSetting: no such model, or it has no such label.
    """
    model, label = parse_reward(spec)
    return Ranker(*load_pipeline(spec, model, label, ()), judge_name("", model, label))
