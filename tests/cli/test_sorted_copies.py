import pytest

from imgrec_jax.cli.sorted_copies import folder_names


def test_names_are_readable_safe_and_all_different():
    labels = ("cat", "Cat", "猫", "a/b", "a:b", "..", "", "nul.txt", "unsure", "x" * 300, " dog. ")
    names = folder_names(labels)
    assert names[:5] == ("cat", "Cat_2", "猫", "a_b", "a_b_2")
    assert names[5:9] == ("_", "__2", "nul.txt_", "unsure_2")
    assert names[9:] == ("x" * 60, "dog")
    assert len({name.casefold() for name in names}) == len(labels)


@pytest.mark.parametrize("label", ["../../etc", "/etc/passwd", "C:\\windows", "a\0b", "~", "-rf"])
def test_no_name_leaves_the_folder(label):
    (name,) = folder_names([label])
    assert not set(name) & set("/\\:\0~")
    assert name.strip(".")
