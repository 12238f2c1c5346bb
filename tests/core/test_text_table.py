from imgrec_jax.core.text_table import display_width, shorten, table


def test_columns_are_aligned_and_wide_characters_count_twice():
    lines = table([["class", "n"], ["猫", "7"], ["dog", "1,234"]], "<>")
    assert lines == ["class      n", "猫         7", "dog    1,234"]
    assert display_width("猫a") == 3


def test_a_long_text_is_cut_and_says_so():
    assert shorten("airplane", 8) == "airplane"
    assert shorten("airplane", 6) == "airp.."
    assert shorten("猫猫猫", 5) == "猫.."
