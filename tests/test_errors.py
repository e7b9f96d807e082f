import inspect
import re

import pytest

from trimtab import errors

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_is_a_trimtab_error_with_a_line_in_the_drawing(error):
    assert issubclass(error, errors.TrimtabError)
    assert re.search(rf"^    (│   )?([├└]── )?{error.__name__}\b", errors.__doc__, re.MULTILINE)


def test_the_drawing_names_no_error_that_does_not_exist():
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    assert sorted(drawn) == sorted(error.__name__ for error in CLASSES if error is not errors.TrimtabError)


def test_an_invalid_setting_is_a_value_error():
    assert issubclass(errors.InvalidSetting, ValueError)
