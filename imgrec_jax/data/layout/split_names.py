"""Table of split names: which split a folder, a file, a list or a cell of a table names.

Every source reads the names of splits through this module. A name is divided into words at
everything but letters and where a capital follows a small letter: `TrainImages_2017` has the words
train and images.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping

SPLITS = ("train", "val", "test")
"""The splits of a data set, in the order of all listings."""

_SYNONYMS = {
    "train": "train trn training trained trainval trainvalid trainingvalidation 训练 训练集",
    "val": "val valid validation validate validating dev devel development 验证 验证集",
    "test": "test tst testing tests eval evaluation heldout 测试 测试集",
}
_SPLIT_OF = {word: split for split, words in _SYNONYMS.items() for word in words.split()}
_BESIDE = """
    annotation annotations classes coco csv data dataset default file files final full gt id ids
    image images img imgs instances jpeg jpegimages jpg jpgs label labels labelled labeled list
    lists mask masks metadata part photos picture pictures png set sets split subset v version
"""
_NEUTRAL = frozenset(_BESIDE.split())
"""Words that a name of a split may hold beside the split."""

_LETTERS = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAIL = re.compile(r"(.+?)(?:set|images?|imgs?|list|data|split|labels?)")
_SHORTEST = 2  # letters: "a" of testA is a part, no word


def split_of(name: str) -> str:
    """Return the split that a name means as a whole ("Training", "test_images"), else ""."""
    words = _words(name)
    splits = [_split_of_word(word) for word in words]
    named = any(splits) and all(
        split or word in _NEUTRAL or len(word) < _SHORTEST
        for split, word in zip(splits, words, strict=True)
    )
    return _united(splits) if named else ""


def split_in(name: str) -> str:
    """Return the split among the words of a name ("instances_val2017", "PublicTest"), else ""."""
    return _united(map(_split_of_word, _words(name)))


def splits_among(names: Collection[str]) -> dict[str, str]:
    """Return the split of each of the names that means one as a whole or in a family.

    A family shares its further words and names several splits: `cars_train` and `cars_test`.
    """
    families: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        if split := split_in(name):
            others = tuple(word for word in _words(name) if not _split_of_word(word))
            families.setdefault(others, {})[name] = split
    found = {name: split for name in names if (split := split_of(name))}
    for family in families.values():
        if len(set(family.values())) > 1:
            found |= family
    return found


def is_train_and_val(name: str) -> bool:
    """Return whether a name means train and val together, such as `trainval`."""
    joined = "".join(_words(name))
    return split_in(name) == "train" and "train" in joined and "val" in joined


def without_overlaps(splits: Mapping[str, str], stem: Callable[[str], str] = str) -> dict[str, str]:
    """Return names with their splits, so that train and val have no image in common.

    A name of train and val together is left out if there is one of train, else those of val are.

    Args:
        splits: the split of each name.
        stem: the part of a name that is read; by default all of it.
    """
    unions = {name for name in splits if is_train_and_val(stem(name))}
    if not unions:
        return dict(splits)
    plain = any(split == "train" and name not in unions for name, split in splits.items())
    return {
        name: split
        for name, split in splits.items()
        if (name not in unions if plain else split != "val")
    }


def _words(name: str) -> list[str]:
    parts = (part for run in _LETTERS.findall(name) for part in _CAMEL.split(run))
    return [part.lower() for part in parts]


def _split_of_word(word: str) -> str:
    if word in _SPLIT_OF:
        return _SPLIT_OF[word]
    tail = _TAIL.fullmatch(word)
    return _SPLIT_OF.get(tail[1], "") if tail else ""


def _united(splits: Iterable[str]) -> str:
    """Return the one split of several words; val and test are test, train and val train."""
    found = set(splits) - {""}
    if found == {"train", "val"}:
        return "train"
    if found == {"val", "test"}:
        return "test"
    return found.pop() if len(found) == 1 else ""
