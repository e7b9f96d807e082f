"""Train rewards from labels, from pairs or from a teacher, with transformers' Trainer."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.data.tables import LabelledText, PromptedText, TextPair, read_labelled, read_pairs
    from trimtab.training.adapt_settings import AdaptSettings
    from trimtab.training.adaptation import adapt
    from trimtab.training.datastore import build_datastore
    from trimtab.training.datastore_settings import DatastoreSettings
    from trimtab.training.distil import train_from_teacher
    from trimtab.training.draft import train_draft
    from trimtab.training.draft_settings import DraftSettings
    from trimtab.training.expert import train_expert
    from trimtab.training.fit import RunOptions
    from trimtab.training.genarm import train_genarm
    from trimtab.training.labels import train_from_labels
    from trimtab.training.pairs import train_from_pairs
    from trimtab.training.recipe import DistilSettings, GenARMSettings, LabelSettings, PairSettings, Recipe
    from trimtab.training.run_folder import RunFolder
    from trimtab.training.text_teacher import ClassifierTeacher, RewardTeacher, TextTeacher

__all__ = [
    "AdaptSettings",
    "ClassifierTeacher",
    "DatastoreSettings",
    "DistilSettings",
    "DraftSettings",
    "GenARMSettings",
    "LabelSettings",
    "LabelledText",
    "PairSettings",
    "PromptedText",
    "Recipe",
    "RewardTeacher",
    "RunFolder",
    "RunOptions",
    "TextPair",
    "TextTeacher",
    "adapt",
    "build_datastore",
    "read_labelled",
    "read_pairs",
    "train_draft",
    "train_expert",
    "train_from_labels",
    "train_from_pairs",
    "train_from_teacher",
    "train_genarm",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AdaptSettings": "trimtab.training.adapt_settings",
        "ClassifierTeacher": "trimtab.training.text_teacher",
        "DatastoreSettings": "trimtab.training.datastore_settings",
        "DistilSettings": "trimtab.training.recipe",
        "DraftSettings": "trimtab.training.draft_settings",
        "GenARMSettings": "trimtab.training.recipe",
        "LabelSettings": "trimtab.training.recipe",
        "LabelledText": "trimtab.data.tables",
        "PairSettings": "trimtab.training.recipe",
        "PromptedText": "trimtab.data.tables",
        "Recipe": "trimtab.training.recipe",
        "RewardTeacher": "trimtab.training.text_teacher",
        "RunFolder": "trimtab.training.run_folder",
        "RunOptions": "trimtab.training.fit",
        "TextPair": "trimtab.data.tables",
        "TextTeacher": "trimtab.training.text_teacher",
        "adapt": "trimtab.training.adaptation",
        "build_datastore": "trimtab.training.datastore",
        "read_labelled": "trimtab.data.tables",
        "read_pairs": "trimtab.data.tables",
        "train_draft": "trimtab.training.draft",
        "train_expert": "trimtab.training.expert",
        "train_from_labels": "trimtab.training.labels",
        "train_from_pairs": "trimtab.training.pairs",
        "train_from_teacher": "trimtab.training.distil",
        "train_genarm": "trimtab.training.genarm",
    },
)
