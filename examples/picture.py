"""Draw docs/images/steering.svg: one prompt at three β, each token coloured by its reward.

    python examples/picture.py docs/images/steering.svg

Only β differs: the same model, prompt, candidates and seed. The prompt was picked by eye from the sixteen of
examples/showcase.py at seed 0, because its three texts read best; results/showcase.md has them all.
"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

import trimtab
from trimtab.cli.reward_text import coloured_text

PROMPT = "The food at the hotel was"
BETAS = [-20, 0, 20]
WIDTH = 84
# Rich's own template loads a font from another host.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main(out: Path) -> None:
    """Write the picture."""
    lm = trimtab.load("smollm2")
    reward = trimtab.reward("sentiment", lm)
    steers = [reward.away(-beta) if beta < 0 else reward.toward(beta) for beta in BETAS]
    written = lm.generate([PROMPT] * len(BETAS), steer=steers, seed=0, max_new_tokens=24)
    table = Table(box=None, show_header=False, padding=(0, 1, 1, 0))
    for beta, generation in zip(BETAS, written, strict=True):
        rewards = [token.rewards["sentiment:positive"] for token in generation.trace]
        text = coloured_text(PROMPT, [token.text for token in generation.trace], rewards)
        text.append(f"\nmean sentiment reward {sum(rewards) / len(rewards):.2f}", style="dim")
        table.add_row(f"β = {beta:+d}".replace("-", "−") if beta else "β = 0", text)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(table)
    svg = console.export_svg(
        title="one prompt, one seed, three strengths β",
        theme=DEFAULT_TERMINAL_THEME,
        code_format=SVG,
        unique_id="steering",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
