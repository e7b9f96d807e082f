"""The decode loop, step by step, against forward calls over whole texts."""

import pytest
import torch

from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.loop import DecodeLoop

PREFIXES = [[10, 11, 12], [20], [30, 31]]
GREEDY = SamplingParams(temperature=0, seed=0)


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def greedy_token(lm, text):
    return int(lm.model(torch.tensor([text]), use_cache=False).logits[0, -1].argmax())


def assert_next_tokens(lm, loop, texts):
    """The next step appends the most likely token of a forward call to each text."""
    for text, token in zip(texts, loop.step().tokens.tolist(), strict=True):
        assert token == greedy_token(lm, text)
        text.append(token)


def test_rows_that_are_kept_and_joined_continue_their_own_texts(frozen):
    texts = [list(prefix) for prefix in PREFIXES]
    loop = DecodeLoop(frozen, [Request(prefix, GREEDY) for prefix in PREFIXES[:2]])
    for _ in range(2):
        assert_next_tokens(frozen, loop, texts[:2])
    loop.join(DecodeLoop(frozen, [Request(PREFIXES[2], GREEDY)]))
    for _ in range(2):
        assert_next_tokens(frozen, loop, texts)
    loop.keep([2, 0])
    assert_next_tokens(frozen, loop, [texts[2], texts[0]])


def test_samples_of_one_prefix_share_its_forward_call(llama):
    loop = DecodeLoop(llama, [Request(PREFIXES[0], SamplingParams(n=3, seed=0))])
    step = loop.step()
    assert step.tokens.shape == (3,)
    whole = llama.model(torch.tensor([PREFIXES[0]]), use_cache=False).logits[0, -1].log_softmax(-1)
    for row in range(3):
        torch.testing.assert_close(step.base_logprobs[row], whole[step.candidates.ids[row]], atol=1e-4, rtol=1e-4)
