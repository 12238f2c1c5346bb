"""Labels and splits that do not come from folders: tables, lists, and the names of files."""

import csv
import io
import logging
import zipfile

import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.folder import Labelling, find_images, open_folder
from imgrec_jax.data.layout.labels import sorted_classes


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root, files):
    """Write images of a value, tables of a text, and bytes."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content))
    return root


def encoded(content):
    if isinstance(content, int):
        return png(content)
    return content.encode() if isinstance(content, str) else content


def labelled(root, **labelling):
    """Return {split: {value of the image: class}}, read from the finished sources."""
    splits = open_folder(str(root), Labelling(**labelling))
    return {
        split: {
            int(source[row]["image"][0, 0, 0]): source.label_names[source[row]["label"]]
            for row in range(len(source))
        }
        for split, source in splits.items()
    }


FLAT = {"a.png": 1, "b.PNG": 2, "c.x.png": 3, "d.png": 4}
CSV = "file,label\na.png,cat\nb.PNG,dog\nc.x.png,cat\nd.png,dog\n"
CAT_DOG = {"train": {1: "cat", 2: "dog", 3: "cat", 4: "dog"}}


def test_a_flat_folder_with_a_table(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert labelled(write(tmp_path, FLAT | {"labels.csv": CSV})) == CAT_DOG
    assert "images are taken from the column 'file', labels from 'label'" in caplog.text
    assert caplog.text.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        CSV.replace(",", ";"),
        CSV.replace(",", "\t").replace("\n", "\r\n"),
        "\ufeff" + CSV,
        "id,breed\na,cat\nb,dog\nc.x,cat\nd,dog\n",
        "a.png,cat\nb.PNG,dog\nc.x.png,cat\nd.png,dog",
        "number,Class,unused,Image\n1,cat,x,./a.png\n2,dog,,b.png\n3,cat,,c.x.png\n4,dog,,d\n\n",
        'image,label\n"a.png","cat"\nb.PNG,dog\nc.x.png,cat\nd.png,dog\n',
    ],
    ids=["semicolons", "tabs", "mark", "without suffixes", "no headings", "order", "quotes"],
)
def test_tables_are_written_in_many_ways(tmp_path, text):
    assert labelled(write(tmp_path, FLAT | {"labels.csv": text})) == CAT_DOG


def test_the_only_table_of_a_flat_folder_may_have_any_name(tmp_path):
    assert labelled(write(tmp_path, FLAT | {"truth.csv": CSV})) == CAT_DOG


def test_columns_can_be_named(tmp_path):
    text = "a,b,c\nx,dog,a.png\ny,cat,b.PNG\nz,dog,c.x.png\n,cat,d.png\n"
    root = write(tmp_path, FLAT | {"labels.csv": text})
    assert labelled(root, columns="c,b") == {"train": {1: "dog", 2: "cat", 3: "dog", 4: "cat"}}
    with pytest.raises(UserError, match=r"one of labels in .*labels.csv, got a, b, c; try --conf"):
        open_folder(str(root))
    with pytest.raises(UsageError, match=r"got no 'd'; try --config.data.columns with two of: a, "):
        open_folder(str(root), Labelling(columns="c,d"))


def test_named_columns_need_a_table(tmp_path):
    root = write(tmp_path, {"x/1.png": 1, "y/1.png": 2})
    with pytest.raises(UserError, match=r"expected a table for data.columns at the top of"):
        open_folder(str(root), Labelling(columns="a,b"))


def test_a_table_with_a_column_of_splits(tmp_path):
    text = "path,label,split\na.png,cat,train\nb.PNG,dog,Train\nc.x.png,cat,valid\nd.png,dog,\n"
    root = write(tmp_path, FLAT | {"labels.csv": text})
    assert labelled(root) == {"train": {1: "cat", 2: "dog"}, "val": {3: "cat"}}


def test_a_table_knows_better_than_folders_and_goes_with_split_folders(tmp_path):
    files = {"train/x/1.png": 1, "train/x/2.png": 2, "test/x/3.png": 3, "train/x/4.png": 4}
    text = "image,label\n1,cat\n2,dog\n3,dog\n"
    assert labelled(write(tmp_path, files | {"labels.csv": text})) == {
        "train": {1: "cat", 2: "dog"},
        "test": {3: "dog"},
    }


def test_a_table_for_each_split_and_an_unlabelled_test(tmp_path, caplog):
    """As competitions pack their sets: the names of train and test are the same."""
    files = {"train/1.png": 1, "train/2.png": 2, "test/1.png": 11, "test/2.png": 12}
    tables = {"train.csv": "id,breed\n1,cat\n2,dog\n", "test.csv": "id\n1\n2\n"}
    with caplog.at_level(logging.WARNING):
        assert labelled(write(tmp_path, files | tables)) == {"train": {1: "cat", 2: "dog"}}
    assert "2 images without a split or a label are left out" in caplog.text


def test_a_table_in_each_split_folder(tmp_path):
    files = {"train/1.png": 1, "train/2.png": 2, "test/1.png": 11}
    tables = {
        "train/metadata.csv": "file_name,label\n1.png,cat\n2.png,dog\n",
        "test/metadata.csv": "file_name,label\n1.png,dog\n",
    }
    assert labelled(write(tmp_path, files | tables)) == {
        "train": {1: "cat", 2: "dog"},
        "test": {11: "dog"},
    }


CLASSES = {
    "images/cat/1.png": 1,
    "images/cat/2.png": 2,
    "images/dog/3.png": 3,
    "images/dog/4.png": 4,
}


def test_split_lists_over_class_folders(tmp_path):
    lists = {
        "meta/train.txt": "cat/1\ndog/3\n",
        "meta/test.txt": "# the rest\n\ncat/2\nimages/dog/4.png\n",
    }
    assert labelled(write(tmp_path, CLASSES | lists)) == {
        "train": {1: "cat", 3: "dog"},
        "test": {2: "cat", 4: "dog"},
    }


def test_split_lists_with_labels(tmp_path):
    lists = {"train.txt": "a.png 0\nb.PNG\t10\nmy d.png, 2\n", "val.txt": "c.x.png 2\n"}
    root = write(tmp_path, FLAT | {"my d.png": 9} | lists)
    assert labelled(root) == {"train": {1: "0", 2: "10", 9: "2"}, "val": {3: "2"}}
    assert open_folder(str(root))["train"].label_names == ("0", "2", "10")


def test_labels_by_the_names_of_files(tmp_path):
    files = {"images/Basset_1.png": 1, "images/Maine_Coon_22.png": 2, "images/Basset_3.png": 3}
    root = write(
        tmp_path, files | {"val.txt": "Basset_3\n", "train.txt": "Basset_1\nMaine_Coon_22"}
    )
    assert labelled(root, label_pattern=r"(?P<label>\w+)_\d+") == {
        "train": {1: "Basset", 2: "Maine_Coon"},
        "val": {3: "Basset"},
    }


def test_names_that_the_pattern_does_not_fit_are_left_out_and_told(tmp_path, caplog):
    root = write(tmp_path, {"cat.1.png": 1, "dog.2.png": 2, "odd.png": 3})
    with caplog.at_level(logging.WARNING):
        assert labelled(root, label_pattern=r"^(?P<label>\w+)\.\d") == {
            "train": {1: "cat", 2: "dog"}
        }
    assert "1 images without a split or a label are left out" in caplog.text
    with pytest.raises(UserError, match=r"expected a label for some image in .*, got none for "):
        open_folder(str(root), Labelling(label_pattern="(?P<label>zebra)"))


@pytest.mark.parametrize(
    ("pattern", "excerpt"),
    [
        ("(", r"a regular expression in data.label_pattern, got '\('"),
        ("(a)", "a group named label"),
    ],
)
def test_impossible_patterns(tmp_path, pattern, excerpt):
    with pytest.raises(UsageError, match=excerpt):
        open_folder(str(write(tmp_path, FLAT)), Labelling(label_pattern=pattern))


def test_unlabelled_test_images_are_left_for_predict(tmp_path, caplog):
    files = {"train/cat/1.png": 1, "train/dog/2.png": 2, "Test/3.png": 3, "Test/4.png": 4}
    with caplog.at_level(logging.WARNING):
        assert labelled(write(tmp_path, files)) == {"train": {1: "cat", 2: "dog"}}
    assert "2 images without a label are left for predict" in caplog.text


def test_unlabelled_images_elsewhere_are_refused(tmp_path):
    files = {"train/cat/1.png": 1, "train/dog/2.png": 2}
    for name in ("train/3.png", "val/3.png"):
        more = {name: 3, "val/cat/4.png": 4}
        with pytest.raises(UserError, match=rf"got the image '{name}' in none; try CLASS/IMAGE"):
            open_folder(str(write(tmp_path / name.replace("/", "_"), files | more)))


def test_tables_in_archives(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (FLAT | {"labels.csv": CSV}).items():
            archive.writestr(f"set/{name}", encoded(content))
    assert labelled(path) == CAT_DOG


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_chinese_names_and_labels(tmp_path, encoding):
    text = "文件,类别\n图片/一.png,猫\n图片/二.png,狗\n"
    files = {"图片/一.png": 1, "图片/二.png": 2, "labels.csv": text.encode(encoding)}
    assert labelled(write(tmp_path, files), columns="文件,类别") == {"train": {1: "猫", 2: "狗"}}


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        (("1.0", "0.0", "", "1.00"), ("1", "0", None, "1")),  # pandas, where a label is missing
        (("1", "nan", "2", "-1"), ("1", None, "2", None)),
        (("1", "-1", "1", "-1"), ("1", "-1", "1", "-1")),
        (("007", "08", "007", "08"), ("007", "08", "007", "08")),
        (("1e3", "2.0", "1e3", "+2"), ("1000", "2", "1000", "+2")),
        (("9" * 5000, "1", "1", "1"), ("9" * 5000, "1", "1", "1")),
        (("['cat']", '["dog"]', "['cat']", "['cat']"), ("cat", "dog", "cat", "cat")),
        (("[0, 1]", "[1, 0]", "[1, 0]", "[1, 0]"), ("1", "0", "0", "0")),
        (("b'cat'", "b'dog'", "b'cat'", "b'cat'"), ("cat", "dog", "cat", "cat")),
        (("none", "0.5", "a", "na"), ("none", "0.5", "a", "na")),  # names, as some are no numbers
    ],
)
def test_labels_whose_meaning_is_plain(tmp_path, labels, read):
    text = io.StringIO()
    csv.writer(text).writerows([("file", "label"), *zip(FLAT, labels, strict=True)])
    wanted = {n: label for n, label in enumerate(read, 1) if label is not None}
    assert labelled(write(tmp_path, FLAT | {"labels.csv": text.getvalue()})) == {"train": wanted}


def test_numbers_of_any_length_are_sorted():
    names = ["10", "9" * 5000, "2", "02", "-1", "0"]
    assert sorted_classes(names) == ["-1", "0", "02", "2", "10", "9" * 5000]
    assert sorted_classes(["10", "9", "a"]) == ["10", "9", "a"]


def test_long_cells_and_line_breaks_elsewhere_are_read(tmp_path):
    runs = "1 2 " * 50_000
    text = f'file,note,label\na.png,"{runs}",cat\nb.PNG,"two\nlines\u2028",dog\n'
    labels = {"train": {1: "cat", 2: "dog"}}
    assert labelled(write(tmp_path, FLAT | {"labels.csv": text})) == labels


def test_a_table_in_latin_1_is_no_chinese(tmp_path, caplog):
    text = "file,label\na.png,Bär\nb.PNG,Löwe\n".encode("latin-1")
    root = write(tmp_path, FLAT | {"labels.csv": text})
    assert labelled(root) == {"train": {1: "Bär", 2: "Löwe"}}
    assert "labels.csv: not UTF-8, read as Latin-1: 'a.png,Bär'" in caplog.text


def test_a_changed_table_is_read_anew(tmp_path):
    root = write(tmp_path, FLAT | {"labels.csv": CSV})
    assert labelled(root) == CAT_DOG
    write(tmp_path, {"labels.csv": CSV.replace("b.PNG,dog", "b.PNG,bird")})
    assert labelled(root)["train"][2] == "bird"


@pytest.mark.parametrize(
    ("files", "excerpt"),
    [
        (
            {"labels.csv": CSV + "e.png,cat\nf.png,cat\n"},
            r"got 2 of 6 that are not there, the first 'e.png' in .*labels.csv \(line 6\)",
        ),
        (
            {"labels.csv": CSV + "a.png,dog\n"},
            r"one label for 'a.png', got 'cat' and 'dog' in .*6\)",
        ),
        ({"labels.csv": ""}, "expected lines in .*labels.csv, got an empty file"),
        ({"labels.csv": b"file,label\n\0\0,x\n"}, r"expected text, got null bytes in .*labels.csv"),
        (
            {"labels.csv": 'file,label\na.png,"cat\nb.PNG,dog\nc.x,cat\n'},
            r"closed quotes in .*labels.csv, got one that opens in line 2 and",
        ),
        (
            {"labels.csv": 'file,label\na.png,cat\nb.PNG,"dog" x\nc.x,cat\n'},
            r"closed quotes in .*labels.csv, got one that opens in line 3 and",
        ),
        (
            {"labels.csv": 'file,label\na.png,"cat\nb.PNG,dog"\nc.x,cat\n'},
            r"a label of one line, got a line break .*csv \(column 'label', line 2\); try",
        ),
        (
            {"labels.csv": "file,label\na.png,1\nb.PNG,0.5\n"},
            r"a whole number from 0 or a name, got 0.5 in .*csv \(column 'label', line 3\); try",
        ),
        (
            {"labels.csv": "a.png,1\nb.PNG,-3\n"},
            r"got -3 in .*csv \(column 2, line 2\); try",
        ),
        ({"labels.csv": "file,label\na.png,1e999\nb.PNG,1\n"}, r"got inf in .*line 2"),
        (
            {"labels.csv": 'file,label\na.png,[1]\nb.PNG,"[1, 2]"\n'},
            r"one label for each image, got a list of 2 in .*csv \(column 'label', line 3\); try",
        ),
        ({"labels.csv": "a,b,c\n1,2,3\n"}, "got a, b, c; try --config.data.columns=IMAGE,LABEL"),
        ({"x/a.png": 5, "y/q.png": 5, "train.txt": "q\n", "z/q.png": 6}, "'y/q.png' and 'z/q.png'"),
        (
            {"train.txt": "a 1\nb 2", "val.txt": "c.x 1\na.png 1"},
            r"one split for 'a.png', got 'train' and 'val' in .*val.txt \(line 2\); try removing",
        ),
        ({"train.txt": "a.png\n"}, "got none for all 4"),
        (
            {"labels.csv": "image,label,split\na.png,1,train\nb.PNG,2,extra\n"},
            r"train, val or test as the split in .*labels.csv \(line 3\), got 'extra'; try one of",
        ),
    ],
)
def test_tables_that_cannot_be(tmp_path, files, excerpt):
    with pytest.raises(UserError, match=excerpt) as caught:
        open_folder(str(write(tmp_path, FLAT | files)))
    assert "\n" not in str(caught.value)
    assert "; try " in str(caught.value)


def test_what_is_found_can_be_had_without_decoding(tmp_path):
    root = write(tmp_path, dict.fromkeys(FLAT, b"no image") | {"labels.csv": CSV})
    found = find_images(str(root))
    assert list(found.layout.names["train"]) == ["a.png", "c.x.png", "b.PNG", "d.png"]
    assert found.layout.labels["train"].tolist() == [0, 0, 1, 1]
    assert found.roots == {"": root}


@pytest.mark.parametrize(
    ("entries", "advice"),
    [
        (["/kaggle/input/a.png", "/kaggle/input/b.PNG"], "'a.png' for '/kaggle/input/a.png', and "),
        (
            ["pets/a.jpg", "pets/b.jpg"],
            "'a.png' for 'pets/a.jpg', and the same change in all lines",
        ),
        (["x/x.c.x.png", "x/d.png"], "'c.x.png' for 'x/x.c.x.png', and"),
        (["7.jpg", "8.jpg"], "'0007.png' for '7.jpg', and"),
        (["cat", "dog"], "--config.data.columns=IMAGE,LABEL, if another column names the images"),
        (["gone.png", "a.png", "b.PNG"], "removing its line"),
    ],
)
def test_the_advice_is_about_the_table_if_most_images_are_missing(tmp_path, entries, advice):
    lines = "".join(f"{entry},{k % 2}\n" for k, entry in enumerate(entries))
    write(tmp_path, FLAT | {"0007.png": 7, "labels.csv": f"file,label\n{lines}"})
    with pytest.raises(UserError, match="not there, the first '") as caught:
        labelled(tmp_path)
    assert f"; try {advice}" in str(caught.value)
