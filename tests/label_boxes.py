"""The boxes of the labels in a plot."""

from matplotlib.text import Text


def label_boxes(panel):
    """The box of each label in pixels, without the line that leads to its point."""
    for text in panel.texts:
        text.get_window_extent()  # moves the label to its place
    return [(text.get_text(), Text.get_window_extent(text)) for text in panel.texts]
