"""Text for readers: names for characters that they cannot see, which reorder or hide text; counts with their nouns."""

from unicodedata import category

JOINERS = "\u200c\u200d"  # invisible, but they change the letters beside them
FILLERS = "\u115f\u1160\u3164\uffa0\u2800"  # letters and symbols that are drawn as nothing
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, marks of format and of direction, half characters, separators


def is_hidden(character: str) -> bool:
    """Whether a reader cannot see a character, or a terminal acts on it."""
    if character.isprintable():
        return character in FILLERS
    return category(character) in HIDDEN and character not in JOINERS


def code_point(character: str) -> str:
    """Return a character's number as Unicode writes it, such as U+001B."""
    return f"U+{ord(character):04X}"


def legible(text: str, keep: str = "\n\t") -> str:
    """Return a text without hidden characters: each becomes its number, such as <U+001B>, unless it is in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"<{code_point(each)}>" if is_hidden(each) and each not in keep else each for each in text)


def one_line(text: str) -> str:
    """Return a text on one line: hidden characters are named, and a line break is ↵."""
    return legible(text.replace("\n", "↵"), keep="")


def legible_json(text: str) -> str:
    r"""Return JSON of the same value, in which hidden characters of texts are escapes, such as \u009b."""
    return "".join(_escape(each) if is_hidden(each) and each not in "\n\t" else each for each in text)


def count_of(count: int, noun: str) -> str:
    """Return a count and its noun, such as "2 branches"."""
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('ch') else 's'}"


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[start]:02x}{units[start + 1]:02x}" for start in range(0, len(units), 2))
