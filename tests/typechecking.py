"""The run-time type checker of the tests: shapes and types of every public function, ints allowed for floats."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
