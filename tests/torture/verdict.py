"""What is wrong with how a command line ended."""

import json
import os
import re
import stat
from pathlib import Path

from torture.case import Case
from torture.client import Ended

CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)  # line breaks and tabs are fine
OURS = "trimtab: "
USAGE_STATUS = 2
TEMPORARY = re.compile(r"(^|/)\.[^/]*-[^/]*(?<!\.lock)$|\.partial$|\.kept$|\.tmp$")


def snapshot(folder: Path) -> dict[str, str]:
    """What each path of a folder is: its kind; of a file, its place, size and time of change too."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            facts = os.lstat(path)
            about = f"{stat.S_IFMT(facts.st_mode):o}"
            if stat.S_ISREG(facts.st_mode):
                about += f" {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"
            elif stat.S_ISLNK(facts.st_mode):
                about += f" {os.readlink(path)}"
            found[os.path.relpath(path, folder)] = about
    return found


def faults_of(case: Case, ended: Ended, folder: Path, before: dict[str, str]) -> list[str]:
    """The faults of a case that has ended, each as "KIND: details"."""
    if ended.hung:
        return [f"hang: over {case.limit:.0f} s"]
    faults = [*process_faults(ended), *text_faults(ended)]
    if case.why is None:
        faults += refusal_faults(case, ended)
    elif ended.code != 0:
        faults.append(f"needless refusal: exit {ended.code}, though the table says {case.why!r}: {last_line(ended)}")
    return faults + file_faults(case, ended, folder, before)


def process_faults(ended: Ended) -> list[str]:
    """Tracebacks, signals and strange exit statuses."""
    faults = []
    if "Traceback (most recent call last)" in ended.stderr:
        faults.append(f"traceback: {last_line(ended)}")
    if ended.code < 0:
        faults.append(f"signal: {-ended.code}")
    elif ended.code not in (0, 1, USAGE_STATUS):
        faults.append(f"exit status: {ended.code}")
    if warning := re.search(r"^.*(?:\.py:\d+: |[a-z])Warning: .*$", ended.stderr, re.MULTILINE):
        faults.append(f"warning: {warning[0].strip()[:200]}")
    return faults


def refusal_faults(case: Case, ended: Ended) -> list[str]:
    """What is wrong with a refusal, if it is one."""
    if ended.code == 0:
        return [f"silent acceptance: printed {ended.stdout[:120]!r}"]
    return message_faults(case, ended)


def late_faults(case: Case, ended: Ended) -> list[str]:
    """A refusal before which weights were read, without a reason."""
    late = case.why is None and ended.code != 0 and ended.loads and not case.loads
    return [f"late refusal: weights were read before {last_line(ended)}"] if late else []


def message_faults(case: Case, ended: Ended) -> list[str]:
    """What is wrong with what a refusal says."""
    if case.tells == "stdout" and ended.code == 1 and ended.stdout.strip():
        return []
    if ended.code != 1 or "Traceback" in ended.stderr:
        return []
    if OURS not in ended.stderr:
        return [f"no message: stderr is {ended.stderr[-200:]!r}"]
    message = ended.stderr[ended.stderr.index(OURS) :].rstrip("\n")
    return [f"long message: {message.count(chr(10)) + 1} lines: {message[:300]!r}"] if "\n" in message else []


def text_faults(ended: Ended) -> list[str]:
    """Control characters in what was printed, and JSON that is none."""
    faults = []
    for name, text in (("stdout", ended.stdout), ("stderr", ended.stderr)):
        if control := CONTROL.search(text):
            faults.append(f"escape code: {control[0]!r} in {name}, near {text[max(0, control.start() - 30) :][:60]!r}")
    for line in ended.stdout.splitlines():
        if line.startswith("{") and (fault := json_fault(line)):
            faults.append(fault)
            break
    return faults


def json_fault(text: str) -> str | None:
    """What is wrong with a text that should be JSON; None for nothing."""

    def refuse(constant: str) -> None:
        raise ValueError(f"has {constant}")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        return f"bad JSON: {error}: {text[:100]!r}"
    return None


def file_faults(case: Case, ended: Ended, folder: Path, before: dict[str, str]) -> list[str]:
    """Files that changed, temporary files that were left, and written JSON that is none."""
    after = snapshot(folder)
    changed = sorted(name for name in before if before[name] != after.get(name))
    if case.why is not None:
        changed = [name for name in changed if not any(Path(name).is_relative_to(word) for word in case.words)]
    faults = [f"file changed: {', '.join(changed)}"] if changed else []
    new = sorted(set(after) - set(before))
    if left := [name for name in new if TEMPORARY.search(name) or (case.why is None and not case.leaves)]:
        faults.append(f"file left behind: {', '.join(left)}")
    for name in new:
        faults += written_faults(folder / name)
    return faults


def written_faults(path: Path) -> list[str]:
    """Rows and records of a new file that are no JSON."""
    if path.suffix not in (".json", ".jsonl") or not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    parts = text.split("\n") if path.suffix == ".jsonl" else [text]
    found = (json_fault(part) for part in parts if part.strip())
    return [f"{fault} in {path.name}" for fault in found if fault][:1]


def last_line(ended: Ended) -> str:
    """The last line of stderr."""
    return (ended.stderr.strip().splitlines() or [""])[-1][:300]
