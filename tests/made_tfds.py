"""Small sets that TFDS itself prepares on the spot, as ArrayRecord."""

import io

import tensorflow_datasets as tfds_library
from PIL import Image

F = tfds_library.features


def png(color, size=(4, 6)):
    """An image of one colour, `size` = width, height."""
    file = io.BytesIO()
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(file, "png")
    return file.getvalue()


def prepare(home, name, splits, features, version="1.0.0", config="", supervised=True):
    """Prepare a set by TFDS itself; `splits` = {split: [values of the features, ...]}."""
    configs = [tfds_library.core.BuilderConfig(name=config, version=version)] if config else []

    class Shapes(tfds_library.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds_library.core.Version(version)
        BUILDER_CONFIGS = configs

        def _info(self):
            return tfds_library.core.DatasetInfo(
                builder=self,
                features=F.FeaturesDict(features),
                supervised_keys=("image", "label") if supervised else None,
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for i, values in enumerate(splits[split]):
                yield i, dict(zip(features, values, strict=True))

    Shapes.name = name
    tfds_library.disable_progress_bar()
    Shapes(data_dir=home, file_format="array_record").download_and_prepare()
    folder = home / name / config / version
    assert (folder / "dataset_info.json").is_file()
