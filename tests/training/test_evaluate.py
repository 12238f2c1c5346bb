from imgrec_jax.training.evaluate import one_late


def test_each_item_comes_when_the_next_has_been_made():
    made = []

    def making():
        for i in range(3):
            made.append(i)
            yield i

    seen = [(item, list(made)) for item in one_late(making())]
    assert seen == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])]
    assert list(one_late([])) == []
