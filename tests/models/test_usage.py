from trimtab.models.usage import Usage


def test_each_call_adds_its_tokens():
    usage = Usage()
    usage.count(7)
    usage.count(3)
    assert usage == Usage(10, 2)


def test_a_copy_does_not_grow_and_differences_can_be_taken():
    usage = Usage(5, 1)
    before = usage.copy()
    usage.count(4)
    assert before == Usage(5, 1)
    assert usage - before == Usage(4, 1)
