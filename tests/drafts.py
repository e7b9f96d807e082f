"""Drafts made from texts."""

from trimtab.judges.draft import Draft


def draft_of(codec, prompt, text):
    """A draft of a prompt and a continuation; its branch has two nodes: the whole text, and all but its first word."""
    ids = tuple(codec.encode_text(text))
    prompt_ids = tuple(codec.encode_prompt(prompt)) if prompt else ()
    return Draft(prompt, prompt_ids, ids, text, (text, text.partition(" ")[2]), (len(ids), len(ids) - 1))
