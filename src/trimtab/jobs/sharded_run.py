"""Continue every prompt of many files, wherever the texts are written. One process writes all rows."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing

from trimtab.data.differences import differences
from trimtab.engines.provenance import MACHINE
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.jobs.job import Job
from trimtab.jobs.shard_file import Batch, ShardFile, Written
from trimtab.jobs.shards import Shard
from trimtab.models.codec import TextCodec

WriteBatches = Callable[[Sequence[Batch]], Generator[Written, None, None]]


def run_shards(
    shards: Sequence[Shard],
    codec: TextCodec,
    job: Job,
    write: WriteBatches,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    replace: bool = False,
    finished: Callable[[Shard], None] = lambda shard: None,
) -> list[str]:
    """Continue every prompt of some shards; returns the faults of the lines that could not be used.

    Each file resumes after an interruption, as in `run_file`, whichever of the two wrote it.

    Args:
        shards: the files.
        codec: encodes the prompts.
        job: the settings.
        write: continues batches; they may come back in any order, and more than once.
        batch_size: prompts written together.
        progress: called with the prompts done and the prompts in all.
        replace: write all files again. They are emptied when the first texts are there.
        finished: called with each shard whose rows have become complete.

    Raises:
        InvalidData: no usable prompt, a file that other settings or weights wrote, or writers of different weights.
        InvalidOutput: another process writes a file.
        InvalidSetting: batch_size below 1.
    """
    if batch_size < 1:
        raise InvalidSetting(f"got batch_size={batch_size}, expected at least 1")
    files = [ShardFile(shard, codec, job, replace) for shard in shards]
    total = sum(len(file.prompts) for file in files)
    if not total:
        first = next((fault for file in files for fault in file.faults), "all are empty")
        raise InvalidData(f"the {len(files)} files of --input have no usable prompt; first fault: {first}")
    batches = [batch for number, file in enumerate(files) for batch in file.batches(number, batch_size)]
    done = sum(file.done for file in files)
    progress(done, total)
    with ExitStack() as held:
        for file in files:
            held.callback(file.close)
            file.sort()
        answers = held.enter_context(closing(write(batches))) if batches else ()
        for written in _emptied(_alike(answers), files) if replace else _alike(answers):
            file = files[written.shard]
            done += file.take(written)
            progress(done, total)
            if file.done == len(file.prompts):
                finished(shards[written.shard])
    if done < total:
        raise InvalidData(f"{total - done} of {total} prompts were not continued; run the same command again")
    return [fault for file in files for fault in file.faults]


def _emptied(written: Iterable[Written], files: Sequence[ShardFile]) -> Iterator[Written]:
    """The same batches. With the first one the files lose the rows of another run, with which none could resume."""
    for number, batch in enumerate(written):
        if number == 0:
            for file in files:
                file.empty(batch.about)
        yield batch


def _alike(written: Iterable[Written]) -> Iterator[Written]:
    """The same batches, checked to be of one model and one set of rewards."""
    first: Written | None = None
    for batch in written:
        first = first or batch
        if differing := differences(first.about, batch.about, MACHINE):
            raise InvalidData(f"two machines have different weights ({differing}); give all of them the same files")
        yield batch
