"""Experts, and rewards that score texts which are encoded again: `--steer experts:…` and `--retokenize`."""

from torture.case import Case, accepted, refused
from torture.tables.values import ESCAPE, EVALUATE, GENERATE, NO_MODELS, REWIND, SCORE, UNICODE, without

NO_EXPERTS = (
    "experts:",
    "experts:,",
    "experts",
    "experts:a,b,c",
    "experts:rewards/q",  # no language model
    "experts:rewards/v,lm",
    "experts:lm,rewards/q",
    "experts:lm:other",  # they have one attribute
    f"experts:{ESCAPE}",
    f"experts:{UNICODE}",
    *(f"experts:{name}" for name in NO_MODELS if len(name.strip()) > 1 and "," not in name and len(name) < 300),
    *(f"experts:lm,{name}" for name in ("nowhere", "folder", "notes.txt", "broken/bert", "broken/cut_weights")),
)
OTHER_WORDS = ("--model", "broken/other_words")
CASES: list[Case] = [
    *(refused(*GENERATE, "--steer", f"{name}=2") for name in NO_EXPERTS),
    *(refused(*GENERATE, "--steer", f"experts:lm{tail}") for tail in ("", "=", "=nan", "=inf", "=1e30", "=x")),
    *(refused(*EVALUATE, "--reward", name, "--beta", "2") for name in ("experts:", "experts:nowhere", "experts:a,b,c")),
    *(refused(*SCORE[:1], "--reward", name, *SCORE[3:]) for name in ("experts:", "experts:nowhere")),
    refused(*without(GENERATE, "--model"), *OTHER_WORDS, "--steer", "experts:lm=2"),
    refused(*GENERATE, "--steer", "experts:lm=2", "--method", "rad"),
    accepted("the model is its own expert", *GENERATE, "--steer", "experts:lm=1"),
    refused(*GENERATE, "--steer", "experts:lm,lm=5"),
    accepted("another model of the same tokenizer", *GENERATE, "--steer", "experts:,gpt2=-1"),
    accepted("nothing is scored without a reward", *GENERATE, "--retokenize"),
    accepted("a reward that fits is not encoded again", *GENERATE, "--retokenize", "--steer", "rewards/q=5"),
    accepted(
        "a text is encoded again", *without(GENERATE, "--model"), *OTHER_WORDS, "--steer", "rewards/v=5", "--retokenize"
    ),
    refused(*without(GENERATE, "--model"), *OTHER_WORDS, "--steer", "rewards/q=5", "--retokenize"),  # it has a Q-head
    refused(*without(GENERATE, "--model"), *OTHER_WORDS, "--steer", "rewards/v=5"),
    refused(*GENERATE, "--retokenize", "--steer", "nowhere=5"),
    accepted("a flag takes no value: a second prompt", *GENERATE, "--retokenize", "yes"),
    refused(*without(REWIND, "--model"), *OTHER_WORDS, "--steer", "rewards/q=5", "--retokenize"),
]
