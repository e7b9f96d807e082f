"""The provenance of searches as names and values for people to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.versions import PACKAGES


def provenance_rows(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return names and values: what searches were made with.

    Args:
        records: the provenance of each search of one call, which differ in their seeds only.
    """
    record = next((each for each in records if each), None)
    if record is None:
        return {}
    base = record.get("base_fingerprint", "")  # what records of older versions have
    rows = {
        "model": f"{record.get('model', '')}, weights {record.get('weights_fingerprint') or base}",
        "steer": "; ".join(map(_term, record.get("steer", []))) or "none",
        "judge": _pairs(record.get("judge", {})),
        "similarity": record.get("similarity", ""),
        "search": _pairs(record.get("search", {})),
        "budget": _pairs(record.get("budget", {})) or "none",
        "stop": ", ".join(map(repr, record.get("stop", []))) or "none",
        "seed": ", ".join(dict.fromkeys(str(each.get("seed", "")) for each in records)),
        "computed": f"{record.get('dtype', '')} on {record.get('device', '')}, engine {record.get('engine', '')}",
        "versions": ", ".join(f"{name} {record[name]}" for name in PACKAGES if name in record),
    }
    return {name: str(value) for name, value in rows.items()}


def _term(term: Mapping[str, Any]) -> str:
    more = f", where the entropy is at least {term['min_entropy']:g}" if term.get("min_entropy") else ""
    return (
        f"{term['source']}:{term['attribute']} {term['direction']}, β={term['beta']:g}, clamp {_value(term['clamp'])}, "
        f"weights {term['fingerprint']} on {term.get('base', 'a base')} "
        f"{term.get('base_weights_fingerprint', 'not recorded')}{more}"
    )


def _pairs(values: Mapping[str, Any]) -> str:
    """Names and values on one line; what is None is left out."""
    given = {name: value for name, value in values.items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in given.items())


def _value(value: object) -> str:
    return "–".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
