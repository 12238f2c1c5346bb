"""Open the images of a data source as they are stored, for `data inspect|pack`."""

from imgrec_jax.build.source_kinds import SourceSpec, source_spec
from imgrec_jax.build.sources import open_source
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import size_limit
from imgrec_jax.data.raw.items import Images
from imgrec_jax.data.raw.open import select, source_images
from imgrec_jax.data.sources.similar_names import warn_of_similar_names


def open_stored(config: Config) -> dict[str, Images]:
    """Return the images of each split of `data.source`, including damaged ones and all sizes.

    Encoded files are not decoded. `data.classes` and `data.examples_per_class` choose as in
    training; nothing is held out.

    Raises:
        UsageError, UserError: as `open_source` does.
    """
    with size_limit.limited(config.data.file_gb):
        return _open_stored(config)


def _open_stored(config: Config) -> dict[str, Images]:
    data = config.data
    kind, _, where = data.source.partition(":")
    splits = select(
        _open(source_spec(kind), where, config),
        data.source,
        classes=data.classes,
        examples_per_class=data.examples_per_class,
        seed=config.seed,
    )
    if source_spec(kind).stored:  # `open_source` has warned otherwise
        warn_of_similar_names(next(iter(splits.values())).label_names, data.source)
    return splits


def _open(spec: SourceSpec, where: str, config: Config) -> dict[str, Images]:
    if spec.stored is None:
        whole = config.copy_and_resolve_references()
        whole.data.update(holdout=0.0, classes="", examples_per_class=0)
        return source_images(open_source(whole), config.data.source)
    try:
        return spec.stored(where, config.data)
    except UserError as error:
        for other in spec.fields.values():  # records may hold boxes or label maps instead
            try:
                if other.stored:
                    return other.stored(where, config.data)
                return source_images(other.open(where, config.data), config.data.source)
            except UserError:
                continue
        raise error
