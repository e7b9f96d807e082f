"""What differs between two records."""

from collections.abc import Collection, Mapping

from trimtab.checking import shown


def differences(
    found: object,
    wanted: object,
    ignored: Collection[str] = (),
    later: Collection[str] = (),
    name: str = "",
    whole: bool = False,
) -> str:
    """Return what differs between two records, as "name: there, here"; empty if nothing does.

    Args:
        found: the record that was read.
        wanted: the record of this run.
        ignored: fields that are not compared.
        later: fields that older records lack: compared only where both records have them.
        name: where the records stand in larger ones.
        whole: name the fields that the first record lacks, also where the other has None, and those not compared.
    """
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = [key for key in dict.fromkeys([*found, *wanted]) if key not in ignored]
        known = [key for key in keys if key not in later or (key in found and key in wanted)]
        pairs = [(found.get(key), wanted.get(key), f"{name}.{key}".lstrip(".")) for key in known]
        if whole and (lacking := [f"{name}.{key}".lstrip(".") for key in wanted if key not in found]):
            return f"it lacks {', '.join(lacking)}"
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = [(one, other, f"{name}[{n}]") for n, (one, other) in enumerate(zip(found, wanted, strict=True))]
    else:
        return "" if found == wanted else f"{name}: {shown(found)} there, {shown(wanted)} here"
    parts = (differences(one, other, ignored, later, place, whole) for one, other, place in pairs)
    return "; ".join(part for part in parts if part)
