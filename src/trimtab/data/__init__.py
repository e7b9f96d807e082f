"""Tables and JSON lines: read and check; every bad row is named."""

from trimtab.data.tables import LabelledText, TextPair, read_labelled, read_pairs

__all__ = ["LabelledText", "TextPair", "read_labelled", "read_pairs"]
