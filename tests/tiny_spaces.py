"""A tokenizer that drops the first space of a text, as those of Llama-2, Mistral and Phi-3 do."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = ["▁the", "▁cat", "▁sat", "s", "▁a"]


def space_dropping_tokenizer() -> PreTrainedTokenizerFast:
    """Its words begin with ▁, which is decoded as a space, but for the first one."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")
