"""A tiny language model with a chat template, in words of its vocabulary."""

from tiny import tiny_lm
from trimtab.models.frozen_lm import FrozenLM

TEMPLATE = (
    "<bos>{% for message in messages %} "
    "{{ {'system': 'w50', 'user': 'w51', 'assistant': 'w52'}[message.role] }} {{ message.content }} <eos>"
    "{% endfor %}{% if add_generation_prompt %} w52 {% endif %}"
)
SYSTEM, USER, ASSISTANT = (4 + 50, 4 + 51, 4 + 52)  # token ids of the roles; w0 is token 4
BOS, EOS = 1, 2


def chat_lm(family: str = "llama") -> FrozenLM:
    """Return a tiny model whose tokenizer has a chat template."""
    lm = tiny_lm(family)
    lm.tokenizer.chat_template = TEMPLATE
    return lm
