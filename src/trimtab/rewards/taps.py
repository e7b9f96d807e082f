"""The shape of a ladder. No torch here, so that the command line starts fast."""

from trimtab.errors import InvalidSetting


def even_taps(layers: int, count: int) -> tuple[int, ...]:
    """`count` depths, evenly spaced, the last of them `layers`.

    Raises:
        InvalidSetting: more depths than layers.
    """
    if count > layers:
        raise InvalidSetting(f"got ladder_layers={count}, expected at most the {layers} layers that the ladder reads")
    return tuple(round(layers * number / count) for number in range(1, count + 1))


def check_ladder_width(width: int, heads: int) -> None:
    """Check that a ladder's width splits into its heads.

    Raises:
        InvalidSetting: it does not.
    """
    if width % heads:
        raise InvalidSetting(f"got ladder_width={width}, expected a multiple of ladder_heads={heads}")
