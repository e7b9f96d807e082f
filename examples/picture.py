"""Draw docs/images/steering.svg: one prompt at three β, each token coloured by its reward.

    python examples/picture.py docs/images/steering.svg

Only β differs: the same model, prompt, candidates and seed. The prompt and the seed were picked by eye from seven
everyday prompts with seeds 0 to 3, because the three texts read well.
"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from rich.text import Text

import trimtab
from trimtab.cli.console import colour, legend

PROMPT = "My first day at work was"
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
        rewards = [next(iter(token.rewards.values())) for token in generation.trace]
        tokens = [(token.text, f"black on {colour(r)}") for token, r in zip(generation.trace, rewards, strict=True)]
        text = Text.assemble(PROMPT, *tokens, "\n", legend("sentiment reward", rewards))
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
