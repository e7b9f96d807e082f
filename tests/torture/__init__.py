"""Torture: malformed command lines and calls, kills, and full disks. `make torture` runs all of it.

How to add a malformed command line, in one minute:

1. Open the file of its command in `torture/tables/`, for example `generate.py`.
2. Add a line to its list: `refused("generate", "w1", "--model", "lm", "--temperature", "nan")`.
3. A command line that is accepted needs a reason: `accepted("greedy decoding", "generate", …, "--temperature", "0")`.

A malformed call of the Python face is a line in `torture/tables/calls_*.py`, in the same way:
`refuses("a None as temperature", lambda w: w.lm.generate("w1", temperature="hot"))`.

Each case runs in a process of its own, forked from a server that has imported everything (`server.py`). Its folder is
a fresh copy of the world (`world.py`): tiny models, rewards, tables, and broken ones of each. `verdict.py` says what
a fault is.

    python -m torture.run                 all parts; writes build/torture.json
    python -m torture.run cli calls       these parts only: cli, calls, kills, disk
    python -m torture.run cli --only nan  the cases whose name has "nan" in it
"""
