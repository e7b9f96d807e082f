"""The tables of a benchmark as text, which the terminal and Markdown show in their own ways."""

from collections.abc import Callable, Iterator

from trimtab.benchmark.record import Record

DASH = "–"
MILLI = 1000
GIB = 2**30
PARTS = {"lm": "LM", "reward": "reward", "head": "head", "sampling": "sampling", "rest": "rest"}

Column = tuple[str, Callable[[Record], str]]


def columns(record: Record) -> list[Column]:
    """The columns of every table behind the name of the row: a title and what it shows of a row."""
    rows = [row for table in record["tables"] for row in table["rows"]]
    found: list[Column] = [
        ("first token", lambda row: milliseconds(row["first_token"])),
        ("per token", lambda row: milliseconds(row["per_token"])),
        ("over plain", lambda row: ratio_text(row["per_token_over_plain"])),
    ]
    if any(row["per_token_over_transformers"] for row in rows):
        found.append(("over transformers", lambda row: ratio_text(row["per_token_over_transformers"])))
    if any(row["peak_memory"] for row in rows):
        found.append(("memory", lambda row: memory_text(row["peak_memory"])))
    return [*found, *(part_column(part, title) for part, title in PARTS.items())]


def part_column(part: str, title: str) -> Column:
    """The column of a part of the step: its share of the step's time."""
    return title, lambda row: share_text(row["parts"], part)


def table_title(table: Record) -> str:
    """What the rows of a table share."""
    return f"Batch {table['batch']}, prompts of {table['prompt_tokens']} tokens, k = {table['top_k']}"


def row_title(row: Record, record: Record) -> str:
    """The name of a row; with its number of tokens and runs if they are fewer than those of the others."""
    asked, runs = record["about"], len(row["runs"])
    fewer = [f"{row['tokens']} tokens"] if row["tokens"] < asked["tokens"] else []
    fewer += [f"{runs} run{'s' * (runs > 1)}"] if runs < asked["repeats"] else []
    return row["title"] + (f" ({', '.join(fewer)})" if fewer else "")


def left_out(table: Record) -> Iterator[str]:
    """The rows that a table has no place for, each with its reason."""
    for each in table["left_out"]:
        yield f"{each['title']}: {each['reason']}"


GOAL_HEADS = ("goal", "batch", "compared", "limit", "measured", "verdict")


def goal_cells(goal: Record) -> tuple[str, ...]:
    """A goal as the cells of GOAL_HEADS."""
    measured = DASH if goal["measured"] is None else ratio_text({**goal, "median": goal["measured"]})
    compared = f"{goal['row']} / {goal['other']}"
    return goal["goal"], str(goal["batch"]), compared, f"{goal['limit']:.2f}×", measured, goal["verdict"]


def machine_lines(record: Record) -> Iterator[str]:
    """The model, the machine and the settings of a run, in sentences."""
    about = record["about"]
    weights = "random weights" if about["random_weights"] else f"weights {about['base_fingerprint']}"
    yield f"Model: {about['model']} ({weights}), {about['dtype']}; trunks of {about['layers']} layers."
    threads = f"{about['threads']} thread{'s' * (about['threads'] != 1)} of {about['cores']}"
    device = f"{about['device']}; " if about["device"] != "cpu" else ""
    yield f"Machine: {device}{about['processor']}, {threads}; {load_text(about)}{about['system']}."
    yield f"Versions: {', '.join(f'{name} {about[name]}' for name in ('trimtab', 'torch', 'transformers'))}."
    quick = "; --quick" if about["quick"] else ""
    runs = f"{about['repeats']} run{'s' * (about['repeats'] > 1)} of each row in turns"
    yield f"Texts: {about['tokens']} tokens, {runs}, {about['clock']}, seed {about['seed']}{quick}."
    if record["interrupted"]:
        yield "Interrupted: the tables hold what was measured until then."


def load_text(about: Record) -> str:
    """How busy the machine was."""
    loads = [each for each in about.get("load_average") or () if each is not None]
    return f"load average {' to '.join(f'{each:.1f}' for each in loads)}; " if loads else ""


def milliseconds(seconds: float) -> str:
    """A time, with as many digits as it deserves."""
    value = seconds * MILLI
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def ratio_text(found: Record | None) -> str:
    """The median of paired ratios, and their range if there is one: a row over itself has none."""
    if found is None:
        return DASH
    spread = f" ({found['low']:.2f}–{found['high']:.2f})" if found["low"] < found["high"] else ""
    return f"{found['median']:.2f}×{spread}"


def memory_text(size: int | None) -> str:
    """A size in GiB."""
    return DASH if size is None else f"{size / GIB:.2f} GiB"


def share_text(parts: dict[str, float] | None, part: str) -> str:
    """A part's share of the step; a dash where the row has no such part."""
    if not parts or not parts[part]:
        return DASH
    return f"{parts[part] / sum(parts.values()):.0%}"
