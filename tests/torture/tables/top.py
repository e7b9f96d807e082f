"""`trimtab` itself, `trimtab replay`, and what needs a process of its own: the environment."""

from torture.case import Case, accepted, refused, refused_tails
from torture.tables.values import ESCAPE, GENERATE, LONG, NO_PROMPT_FILES, REPLAY, SHORT

TOP: list[Case] = [
    refused(),
    refused("nonsense"),
    refused(""),
    refused("-"),
    refused("--"),
    refused("--nonsense"),
    refused(ESCAPE),
    refused(LONG),
    refused("generat", "w1"),
    refused("--version=3"),
    refused("--version", "--nonsense"),
    accepted("prints the version", "--version"),
    accepted("prints help", "-h"),
    accepted("prints help", "generate", "--help", "--temperature", "nan"),
]
REPLAYED: list[Case] = [
    *(refused("replay", name, tells="stdout") for name in NO_PROMPT_FILES),
    *(refused("replay", name, tells="stdout") for name in ("prompts.jsonl", "labels.csv", "surrogate.jsonl")),
    *(refused("replay", name) for name in ("full", "null", "folder")),
    refused("replay"),
    *refused_tails(REPLAY, ("--nonsense",), ("extra",)),
    accepted("the texts are written again and compared", *REPLAY),
]
ALONE = 240.0  # seconds; a new process imports torch
HUB = 25.0  # seconds in which a Hub that does not answer is given up, the start of the process included
OFFLINE = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
ENVIRONMENT: list[Case] = [
    refused("generate", "w1", "--model", "some/model", *SHORT, env=OFFLINE, limit=HUB),
    refused(*GENERATE, "--steer", "some/reward=20", env=OFFLINE, limit=HUB),
    refused("generate", "w1", "--model", "some/model", env={**OFFLINE, "TRIMTAB_OFFLINE": "1"}, limit=HUB),
    refused(
        "generate", "w1", "--model", "some/model", env={**OFFLINE, "HF_ENDPOINT": "http://10.255.255.1"}, limit=HUB
    ),
    refused(
        "score", "--reward", "broken_rewards/one_flipped", "--text", "w1", env={"PYTHONOPTIMIZE": "1"}, limit=ALONE
    ),
    refused("generate", "w1 é", *GENERATE[2:], env={"PYTHONUTF8": "0", "LC_ALL": "C"}, limit=ALONE),
    refused("generate", "The sky", "--steer", "rewards/q=5", env={"TRIMTAB_OFFLINE": "1"}, limit=ALONE),
    refused("generate", "The sky", "--steer", "sentiment:nobody=5", env={"TRIMTAB_OFFLINE": "1"}, limit=ALONE),
    accepted("ASCII shows other characters escaped", "rewards", "list", env={"PYTHONIOENCODING": "ascii"}, limit=ALONE),
    accepted(
        "ASCII shows other characters escaped",
        "generate",
        "w1 é",
        *GENERATE[2:],
        env={"PYTHONIOENCODING": "ascii"},
        limit=ALONE,
    ),
    accepted(
        "the embedded model",
        "generate",
        "The sky",
        *SHORT,
        "--steer",
        "sentiment=+5",
        env={"TRIMTAB_OFFLINE": "1"},
        limit=ALONE,
    ),
    accepted(
        "it is warned that the model judges itself poorly",
        "rewind",
        "The sky",
        *SHORT,
        "--judge",
        "self",
        "--max-iterations",
        "3",
        env={"TRIMTAB_OFFLINE": "1"},
        limit=ALONE,
    ),
]
CASES = [*TOP, *REPLAYED, *ENVIRONMENT]
