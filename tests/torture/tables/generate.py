"""`trimtab generate`."""

from torture.case import Case, accepted, refused, refused_tails, refused_values
from torture.tables.values import (
    BELOW_ONE,
    ESCAPE,
    GENERATE,
    GENERATE_FILE,
    LONG,
    NO_MODELS,
    NO_NUMBER,
    NO_OUTPUT_FILES,
    NO_PROMPT_FILES,
    NO_WHOLE,
    NOT_FINITE,
    SHORT,
    UNICODE,
    row,
    without,
)

NO_RANKINGS = (
    "",
    "rewards/q",
    "rewards/q=5",
    "nowhere=+1",
    "vadr=+1",
    "tests:nowhere.py",
    "self:nowhere",
    ESCAPE,
    LONG,
)
READ_ONCE = "standard input and pipes are used once, when the model is there"
BARE = ("generate", "--model", "lm", *SHORT)
NUMBERS: list[Case] = [
    *refused_values(GENERATE, "--n", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(GENERATE, "--top-k", ("", "abc", "1.5", "-1")),
    *refused_values(GENERATE, "--top-p", (*NO_NUMBER, *NOT_FINITE, "0", "-0.1", "1.1")),
    *refused_values(GENERATE, "--temperature", (*NO_NUMBER, *NOT_FINITE, "-1", "-0.001")),
    *refused_values(GENERATE, "--max-kl", (*NO_NUMBER, *NOT_FINITE, "-1", "1e-9")),
    *refused_values(GENERATE, "--repetition-penalty", (*NO_NUMBER, *NOT_FINITE, "0", "-1")),
    *refused_values(GENERATE, "--no-repeat-ngram-size", ("", "abc", "1.5", "-1")),
    accepted("no limit, as documented", *GENERATE, "--no-repeat-ngram-size", "0"),
    accepted("a budget of 0 switches steering off", *GENERATE, "--steer", "rewards/q=5", "--max-kl", "0"),
    *refused_values(GENERATE, "--max-new-tokens", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(GENERATE, "--seed", ("", "abc", "1.5", "nan", ESCAPE)),
    *refused_values(GENERATE_FILE, "--batch-size", (*NO_WHOLE, *BELOW_ONE)),
    accepted("greedy decoding, as documented", *GENERATE, "--temperature", "0"),
    accepted("no limit, as documented", *GENERATE, "--top-k", "0"),
    refused(*GENERATE, "--top-k", "1" + "0" * 30),
    refused(*GENERATE, "--max-new-tokens", "1" + "0" * 30),
    refused(*GENERATE, "--n", "1" + "0" * 9),
    accepted("the text ends where the context ends", *GENERATE, "--max-new-tokens", "100000"),
    accepted("a seed is hashed, any whole number will do", *GENERATE, "--seed", "-1"),
    accepted("a seed is hashed, any whole number will do", *GENERATE, "--seed", "1" + "0" * 30),
    accepted("a batch holds all prompts", *GENERATE_FILE, "--batch-size", "1" + "0" * 30),
    accepted("nearly greedy", *GENERATE, "--temperature", "1e-300"),
    accepted("nearly uniform over the candidates", *GENERATE, "--temperature", "1e300"),
    accepted("the best candidate alone", *GENERATE, "--top-p", "1e-300"),
]
NAMES: list[Case] = [
    *(refused(*without(GENERATE, "--model"), "--model", name) for name in NO_MODELS),
    accepted(
        "a tokenizer may have more tokens than its model, as Gemma 3's has",
        *without(GENERATE, "--model"),
        "--model",
        "broken/more_words",
    ),
    refused("generate", "w100", *SHORT, "--model", "broken/more_words"),
    *refused_values(GENERATE, "--dtype", ("", "float64", "int8", "FLOAT32", ESCAPE)),
    *refused_values(GENERATE, "--method", ("", "ARM", "rain", ESCAPE)),
    *refused_values(
        GENERATE,
        "--steer",
        (
            *("", "=", "rewards/q", "rewards/q=", "=20", "rewards/q=abc", "rewards/q=nan", "rewards/q=inf"),
            *("rewards/q=1e400", "rewards/q:=20", "rewards/q:nobody=20", "rewards/q:kind:calm=20", "nowhere=20"),
            *(
                "sentimnet=20",
                "folder=20",
                "notes.txt=20",
                "loop=20",
                f"{ESCAPE}=20",
                f"{UNICODE}=20",
                "rewards/q=0x10",
            ),
            *("rewards/q=20=30", f"{LONG}=20", "rewards/q:" + ESCAPE + "=20"),
        ),
    ),
    refused(*GENERATE, "--steer", "sentiment=20"),  # made for another tokenizer
    refused(*without(GENERATE, "--model"), "--model", "broken/other_words", "--steer", "rewards/q=20"),
    refused(*GENERATE, "--steer", "rewards/v=20", "--top-k", "0"),
    refused(*GENERATE, "--steer", "rewards/v=20", "--top-k", "1"),
    refused(*GENERATE, "--steer", "rewards/v=20", "--top-p", "1e-9"),
    refused(*GENERATE, "--steer", "rewards/v=20", "--steer", "rewards/v=-20"),
    refused(*GENERATE, "--method", "rad"),
    refused(*GENERATE, "--max-kl", "1"),
    accepted("no steering strength is plain sampling, as documented", *GENERATE, "--steer", "rewards/q=0"),
    accepted("two steers by one reward add up", *GENERATE, "--steer", "rewards/q=5", "--steer", "rewards/q=5"),
    refused(*GENERATE, "--steer", "rewards/q=1e30"),  # the logits of the model would vanish
    accepted("a strong steer is greedy in the reward", *GENERATE, "--steer", "rewards/q=1e5"),
    accepted(
        "a model of other words writes in its own words", *without(GENERATE, "--model"), "--model", "broken/other_words"
    ),
    refused(*GENERATE, "--steer", "rewards/q=5", "--method", "rad"),  # it has a Q-head
]
FILES: list[Case] = [
    *(refused(*without(GENERATE_FILE, "--input"), "--input", name) for name in NO_PROMPT_FILES),
    refused(
        *without(GENERATE_FILE, "--input"),
        "--input",
        "torn.jsonl",
        leaves="the rows of the whole lines",
        loads="they are written",
    ),
    refused(*without(GENERATE_FILE, "--input"), "--input", "wrong_messages.jsonl"),
    refused(*without(GENERATE_FILE, "--input"), "--input", "messages.jsonl"),  # no chat template
    refused(*without(GENERATE_FILE, "--input"), "--input", "full"),
    refused(*without(GENERATE_FILE, "--input"), "--input", "null"),
    accepted("BOM and CRLF are marks of the file", *without(GENERATE_FILE, "--input"), "--input", "bom.jsonl"),
    accepted("BOM and CRLF are marks of the file", *without(GENERATE_FILE, "--input"), "--input", "crlf.jsonl"),
    accepted("U+2028 is a character of a text", *without(GENERATE_FILE, "--input"), "--input", "separator.jsonl"),
    accepted("a NUL is a character of a text", *without(GENERATE_FILE, "--input"), "--input", "null_character.jsonl"),
    accepted("escaped where it is shown", *without(GENERATE_FILE, "--input"), "--input", "escape.jsonl"),
    accepted("gzip is documented", *without(GENERATE_FILE, "--input"), "--input", "fine.jsonl.gz"),
    refused(*without(GENERATE_FILE, "--input"), "--input", "surrogate.jsonl"),
    accepted(
        "a chat template is there",
        *without(GENERATE_FILE, "--input", "--model"),
        "--model",
        "chat",
        "--input",
        "messages.jsonl",
    ),
    *(
        refused(*without(GENERATE_FILE, "--output"), "--output", name, loads=READ_ONCE if name == "pipe" else "")
        for name in NO_OUTPUT_FILES
    ),
    refused(*without(GENERATE_FILE, "--output"), "--output", "notes.txt"),
    refused(*without(GENERATE_FILE, "--output"), "--output", "link"),
    refused(*without(GENERATE_FILE, "--output"), "--output", "prompts.jsonl"),
    refused(*without(GENERATE_FILE, "--output"), "--output", "./folder/../prompts.jsonl"),
    refused(*without(GENERATE_FILE, "--output"), "--output", "out.jsonl.gz"),
    refused(*without(GENERATE_FILE, "--output"), "--output", "labels.csv"),
    accepted("folders are made", *without(GENERATE_FILE, "--output"), "--output", "new/folder/out.jsonl"),
    accepted("it is replaced, as asked", *without(GENERATE_FILE, "--output"), "--output", "notes.txt", "--force"),
    *(
        refused(*without(GENERATE_FILE, "--output"), "--output", name, "--force")
        for name in ("full", "folder", "prompts.jsonl", "./folder/../prompts.jsonl")
    ),
]
COMBINATIONS: list[Case] = [
    *refused_tails(
        GENERATE,
        ("--stream", "--json"),
        ("--stream", "--n", "2"),
        ("--stream", "--show-rewards"),
        ("--stream", "another prompt"),
        ("--show-rewards", "--json"),
        ("--input", "prompts.jsonl"),
        ("--output", "out.jsonl"),
        ("--input", "prompts.jsonl", "--output", "out.jsonl"),
        ("--chat",),  # no chat template
        ("--system", "w1"),
        ("--json", "--json=true"),
        ("--nonsense",),
        ("--steer",),
        ("--model",),
        ("-n", "1"),
        ("--temperature", "1", "--temperature", "nan"),
        ("",),
    ),
    refused(*GENERATE_FILE, "--stream"),
    refused(*GENERATE_FILE, "--show-rewards"),
    refused(*BARE),
    refused(*BARE, "--input", "prompts.jsonl"),
    refused(*BARE, ""),
    refused(*BARE, "w1 " * 100),  # over the context
    refused(*BARE, "--", ""),
    accepted("what follows -- is a prompt", *BARE, "--", "--temperature"),
    accepted("the last one counts, as in all of click", *GENERATE, "--seed", "2", "--seed", "3"),
    accepted("an empty stop string stops nothing", *GENERATE, "--stop", ""),
    accepted("words outside the vocabulary are <unk>", *BARE, ESCAPE),
    accepted("words outside the vocabulary are <unk>", *BARE, UNICODE),
    accepted("one word, however long, is one <unk>", *BARE, LONG),
    accepted("escaped in JSON", *BARE, ESCAPE, "--json"),
    refused(*GENERATE, "--show-rewards"),  # no reward to show
    accepted("one row per sample", *GENERATE, "--json", "--n", "3", "--steer", "rewards/q=5"),
    accepted("rewards are shown as numbers", *GENERATE, "--show-rewards", "--steer", "rewards/q=-5"),
    accepted("streams", *GENERATE, "--stream", "--steer", "rewards/v=5"),
    accepted("- reads stdin and writes stdout", *BARE, "--input", "-", "--output", "-", stdin=row(prompt="w1 w2")),
    refused(*BARE, "--input", "-", "--output", "-", stdin="", loads=READ_ONCE),
    refused(*BARE, "--input", "-", "--output", "-", stdin="[[[[", loads=READ_ONCE),
    refused(*BARE, "--input", "-", "--output", "-", stdin="[" * 100_000, loads=READ_ONCE),
    refused(*BARE, "--input", "-", "--output", "full", stdin=row(prompt="w1 w2")),
]
BEST = (*GENERATE, "--best-of", "3", "--by", "rewards/q=+1")
BEST_OF: list[Case] = [
    *refused_values((*GENERATE, "--by", "rewards/q=+1"), "--best-of", (*NO_WHOLE, *BELOW_ONE, "1" + "0" * 30)),
    *refused_values((*GENERATE, "--best-of", "3"), "--by", NO_RANKINGS),
    *refused_values(BEST, "--block", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(BEST, "--halve-every", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(BEST, "--accept-at", (*NO_NUMBER, *NOT_FINITE)),
    *refused_values((*BEST, "--accept-at", "0.5"), "--accept-softness", (*NO_NUMBER, *NOT_FINITE, "-1")),
    *refused_values((*BEST, "--accept-at", "0.5"), "--segment-entropy", (*NO_NUMBER, *NOT_FINITE, "-1")),
    *refused_values(BEST, "--repairs", (*NO_WHOLE, "-1", "1")),
    *refused_tails(GENERATE, ("--best-of", "3"), ("--by", "rewards/q=+1"), ("--block", "2"), ("--accept-at", "0")),
    *refused_tails(
        BEST,
        ("--n", "4"),
        ("--stream",),
        ("--block", "2", "--halve-every", "2"),
        ("--block", "2", "--accept-at", "0"),
        ("--block", "2", "--n", "2"),
        ("--segment-entropy", "1"),
        ("--by", "vader=+1", "--block", "2"),
        ("--by", "lines:min:rewards/q=+1", "--accept-at", "0"),
    ),
    refused(*GENERATE_FILE, "--best-of", "3"),
    accepted("the best two of three drafts", *BEST, "--n", "2", "--json"),
    accepted("a file of the best drafts", *GENERATE_FILE, "--best-of", "3", "--by", "rewards/v=-1"),
    accepted("blocks", *BEST, "--block", "2"),
    accepted("halves", *BEST, "--halve-every", "2", "--trace"),
    accepted("segments, to a goal that is out of reach", *BEST, "--accept-at", "1e300", "--accept-softness", "0"),
    accepted("steps of a reward rank whole drafts", *GENERATE, "--best-of", "2", "--by", "lines:min:rewards/q=+1"),
]
RAY = (*GENERATE_FILE, "--ray", "127.0.0.1:1")  # where nothing answers, and refused too where ray is not installed
ON_RAY: list[Case] = [
    *refused_values(
        GENERATE_FILE, "--ray", ("", "nowhere", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:99999", ESCAPE, LONG)
    ),
    *refused_values(RAY, "--actors", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(RAY, "--actor-cpus", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(RAY, "--actor-gpus", (*NO_NUMBER, *NOT_FINITE, "-1", "1.5")),
    *refused_tails(GENERATE_FILE, ("--actors", "2"), ("--actor-cpus", "2"), ("--actor-gpus", "0.5")),
    refused(*GENERATE, "--ray", "127.0.0.1:1"),
    refused(*RAY, "--best-of", "2", "--by", "rewards/q=+1"),
    refused(*RAY, "--batch-size", "0"),
]
CASES = [*NUMBERS, *NAMES, *FILES, *COMBINATIONS, *BEST_OF, *ON_RAY]
