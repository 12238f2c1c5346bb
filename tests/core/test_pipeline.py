import pytest

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.nested import flatten
from imgrec_jax.core.pipeline import Call, bind_call, parse_pipeline


def test_a_pipeline_is_read_in_order_with_its_literals():
    text = "pad_crop(pad=4)|flip | noise(0.02)|mix('a', sizes=[1, 2], on=True)"
    assert parse_pipeline(text) == (
        Call("pad_crop", (), {"pad": 4}),
        Call("flip", (), {}),
        Call("noise", (0.02,), {}),
        Call("mix", ("a",), {"sizes": [1, 2], "on": True}),
    )


def test_the_empty_text_is_the_empty_pipeline():
    assert parse_pipeline("") == parse_pipeline("  ") == ()


@pytest.mark.parametrize(
    "text",
    [
        "flip|",
        "flip flip",
        "1 + 1",
        "f(g(1))",
        "f(x)",
        "a.b(1)",
        "f(*[1])",
        "f(**{'a': 1})",
        "__import__('os').system('true')",
        "[flip]",
        "f(lambda: 0)",
        "a(" + "-" * 20_000 + "1)",
        "a|" * 20_000 + "a",
        "f(" + "1" * 5000 + ")",
    ],
)
def test_anything_else_is_refused_and_never_run(text):
    with pytest.raises(UsageError, match="expected a pipeline such as"):
        parse_pipeline(text)


def shift(pixels: int = 1, *, wrap: bool = False) -> tuple[int, bool]:
    return pixels, wrap


def test_a_call_is_bound_to_its_factory():
    call = parse_pipeline("shift(3, wrap=True)")[0]
    assert bind_call("move", call, {"shift": shift}) == (3, True)


def test_an_unknown_name_gets_a_suggestion_and_the_list():
    with pytest.raises(UsageError) as caught:
        bind_call("move", Call("shfit", (), {}), {"shift": shift, "turn": shift})
    assert str(caught.value) == "unknown move 'shfit'; did you mean 'shift'? known: shift, turn"


def test_a_wrong_argument_gets_a_suggestion_and_the_signature():
    with pytest.raises(UsageError) as caught:
        bind_call("move", Call("shift", (), {"pixel": 2}), {"shift": shift})
    message = str(caught.value)
    assert "did you mean 'pixels'?" in message
    assert "expected shift(pixels=1, wrap=False)" in message


def test_without_a_close_name_only_the_list_is_told():
    assert str(unknown("model", "zzz", ["vit", "convnet"])) == (
        "unknown model 'zzz'; known: convnet, vit"
    )


def test_flatten_gives_dotted_keys():
    assert flatten({"a": 1, "b": {"c": {"d": 2}, "e": []}}) == {"a": 1, "b.c.d": 2, "b.e": []}


@pytest.mark.parametrize("text", ["shift('3')", "shift(1.5)", "shift(True)", "shift(1, wrap=1)"])
def test_an_argument_of_another_type_is_refused(text):
    with pytest.raises(UsageError, match=r"expected shift\((pixels|wrap)=\.\.\.\) to be"):
        bind_call("move", parse_pipeline(text)[0], {"shift": shift})


def grow(factor: float = 1.0) -> float:
    return factor


def test_whole_numbers_are_floats_and_infinities_are_not():
    assert bind_call("grow", parse_pipeline("grow(2)")[0], {"grow": grow}) == 2
    with pytest.raises(UsageError, match="a finite number"):
        bind_call("grow", parse_pipeline("grow(1e999)")[0], {"grow": grow})
