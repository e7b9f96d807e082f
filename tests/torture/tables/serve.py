"""`trimtab serve`: only what is refused, because a server does not end."""

from torture.case import Case, refused, refused_tails, refused_values
from torture.tables.values import ESCAPE, LONG, NO_MODELS, NO_WHOLE

SERVE = ("serve", "--model", "lm", "--port", "0", "--reward", "kind=rewards/q")
HUGE = "1" + "0" * 30
COUNTS = ("--max-rows", "--max-queue", "--max-tokens", "--max-body", "--max-searches")
NOT_OURS = ("192.0.2.1", "")  # an address for documentation (RFC 5737)

CASES: list[Case] = [
    *(refused(*SERVE, "--model", name) for name in NO_MODELS),
    *(refused(*SERVE, option, value) for option in COUNTS for value in ("0", "-1", HUGE, *NO_WHOLE)),
    *refused_values(SERVE, "--port", ("-1", "70000", HUGE, *NO_WHOLE)),
    *refused_values(SERVE, "--host", NOT_OURS),
    *refused_values(SERVE, "--reward", ("", "=", "=rewards/q", "kind=", "kind=nonsense", "a/b", "a b", ESCAPE, LONG)),
    *refused_values(SERVE, "--prefix-cache", ("-1", "nan", "inf", HUGE, "much")),
    *refused_values(SERVE, "--api-key", ("", " ", " key", "a\nb", "\x7f")),
    *refused_values(SERVE, "--served-name", ("", "a+b")),
    *refused_values(SERVE, "--cors-origin", ("", "*", "example.org", "ftp://example.org")),
    *refused_values(SERVE, "--dtype", ("", "float16", "int8")),
    refused(*SERVE, "--reward", "kind=rewards/v"),  # twice the same name
    refused(*SERVE, "--reward", "sentiment"),  # of another tokenizer
    refused(*SERVE, "--reward", "damaged=broken_rewards/one_flipped"),
    *refused_tails(SERVE, ("--nonsense",), ("extra",)),
]
