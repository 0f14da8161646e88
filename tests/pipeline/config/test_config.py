"""The configuration: what is accepted, and what the messages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.settings import rgb
from pipeline.config import CONFIG_VARIABLE, config_path, load_config
from pipeline.config.loading import CONFIGS
from pipeline.config.paths import PROJECT
from pipeline.runtime import ConfigError

MINIMAL = '[pipeline]\nname = "mine"\n[data]\npath = "photos"\n'


def load(tmp_path: Path, text: str):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(str(file))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_ready_configurations_are_valid_and_their_header_states_the_command(path: Path) -> None:
    config = load_config(path.stem)
    assert config.pipeline.name == path.stem
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert "make run" in header
    assert "P@1" in header


def test_ready_configurations_ask_the_interval_of_the_change_but_for_the_first_ones() -> None:
    """What is retrained must not be judged by luck; the first run of a newcomer stays simple."""
    asked = {}
    for path in CONFIGS.glob("*.toml"):
        config = load_config(path.stem)
        asked[path.stem] = {
            key
            for threshold in config.evaluation.thresholds.values()
            for key in threshold.model_fields_set & {"no_worse", "better", "undecided"}
        } | (config.retraining.model_fields_set & {"false_promotions_per_year"})
    assert asked == {
        "mnist-sample": set(),
        "mnist-sample-unseen": set(),  # of five classes
        "mnist": {"no_worse"},
        "characters": {"no_worse"},
        "near-duplicates": {"no_worse"},
        "products": {"no_worse", "false_promotions_per_year"},
        "products-frozen": {"better"},
        "faces": {"no_worse", "undecided"},
    }


def test_relative_paths_start_at_the_project(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path, MINIMAL)
    assert config.data.path == str(PROJECT / "photos")
    assert config.pipeline.serving_directory == str(PROJECT / ".work/mine/serving")


def test_remote_and_absolute_paths_stay(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL.replace("photos", "gs://bucket/photos"))
    assert config.data.path == "gs://bucket/photos"
    config = load(tmp_path, MINIMAL.replace("photos", "/photos"))
    assert config.data.path == "/photos"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", {"train": "train/*", "eval": "eval/*"}),
        ('format = "images"', {"train": "train/*/*", "eval": "eval/*/*"}),
        ('format = "images"\neval = "test/*/*"', {"train": "train/*/*", "eval": "test/*/*"}),
        ('split = "hash"', {"all": "*"}),
        ('format = "images"\nsplit = "class_disjoint"', {"all": "*/*"}),
        ('format = "csv"', {"all": "*.csv"}),  # by the column split
        ('format = "parquet"\npattern = "a.parquet"', {"all": "a.parquet"}),
        ('format = "csv"\nsplit = "hash"', {"all": "*.csv"}),
        ('format = "csv"\ntrain = "a.csv"\neval = "b.csv"', {"train": "a.csv", "eval": "b.csv"}),
        (
            'gallery = "shop/*"\n[evaluation]\ngallery_split = "gallery"',
            {"train": "train/*", "eval": "eval/*", "gallery": "shop/*"},
        ),
    ],
)
def test_patterns(tmp_path: Path, data: str, expected: dict[str, str]) -> None:
    assert load(tmp_path, MINIMAL + data).data.patterns == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[evaluation]\ngallery_split = "catalogue"',
            "evaluation.gallery_split is 'catalogue', expected 'train': 'gallery' is what the "
            "pattern data.gallery reads. Without gallery_split the eval split itself is searched",
        ),
        (
            'gallery = "shop/*"\n[evaluation]\ngallery_split = "eval"',
            "evaluation.gallery_split is 'eval', expected 'train' or 'gallery': ",
        ),
        (
            'gallery = "shop/*"',
            "data.gallery has no effect without evaluation.gallery_split = 'gallery'; set it",
        ),
        (
            'gallery = "shop/*"\nsplit = "hash"\n[evaluation]\ngallery_split = "gallery"',
            "data: gallery has no effect with format = 'tfrecord' and split = 'hash'; remove it",
        ),
        (
            'gallery = "shop.csv"\nformat = "csv"\n[evaluation]\ngallery_split = "gallery"',
            "gallery has no effect without train and eval: name a sheet for each, or let the "
            "column is_gallery of the one sheet say what is searched",
        ),
        ('distractors = ["a", "a"]', "data: distractors names a label twice; remove one"),
        ('distractors = [""]', "data.distractors.0: String should have at least 1 character"),
    ],
)
def test_galleries_and_distractors_that_make_no_sense(tmp_path: Path, text, message) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, MINIMAL + text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[training]\nstep = 3",
            "training.step: unknown key; allowed here: alpha, base, batch_size, ",
        ),
        ("[trainer]", "beam, compatibility, data, evaluation, export, image, "),
        ('[training]\nsteps = "many"', "training.steps: Input should be a valid integer"),
        ("[training]\nmargin = 9", "training.margin: Input should be less than or equal to 4"),
        ('[training]\nmining = "x"', "mining: Input should be 'none', 'all', 'semi_hard', "),
        (
            '[evaluation.thresholds."map@r"]\nlow = 1',
            "evaluation.thresholds.map@r.low: unknown key; allowed here: better, lower, max_drop",
        ),
        ('[evaluation.thresholds."map@r"]', "needs at least one of lower, upper, max_drop"),
        (
            '[evaluation.slice_thresholds.label."map@r"]\nmax_dop = 0.05',
            "slice_thresholds.label.map@r.max_dop: unknown key; allowed here: better, lower",
        ),
        (
            '[evaluation.slice_thresholds.colour."map@r"]\nmax_drop = 0.05',
            "slice_thresholds has colour, which is not in slice_by (label)",
        ),
        (
            "[evaluation.thresholds.roc_auc]\nlower = 0.9",  # needs verification = true
            "evaluation: no metric roc_auc to put into thresholds",
        ),
        (
            "[evaluation.slice_thresholds.label.spread]\nlower = 0.1",
            "no metric spread to put into slice_thresholds.label; there are ['precision@1', ",
        ),
        ("[evaluation.thresholds.collapsed]\nupper = 1", "no metric collapsed to put into"),
        (
            "[evaluation.thresholds.mrr]\nlower = 0.6\nupper = 0.5",
            "thresholds.mrr: nothing passes with lower = 0.6 above upper = 0.5",
        ),
        (
            "[evaluation]\nverification = true\n"
            "[evaluation.thresholds.eer_threshold]\nmax_drop = 0.1",
            "thresholds.eer_threshold: neither way is better, so it has no max_drop",
        ),
        ("[evaluation.thresholds.mrr]\nlower = nan", "thresholds.mrr.lower: Input should be a fin"),
        ("[evaluation.thresholds.mrr]\nmax_drop = inf", "mrr.max_drop: Input should be a finite"),
        (
            '[triplets]\nstrategy = "hard"\npositives = "hard"\ntriplets_per_anchor = 2',
            "triplets: with strategy = 'hard' and positives = 'hard' only the negatives of",
        ),
        (
            '[evaluation]\nks = [3]\n[evaluation.thresholds."precision@1"]\nlower = 0.5',
            "evaluation: no metric precision@1 to put into thresholds; there are ['precision@3', ",
        ),
        ("[evaluation]\nks = [2, 2]", "ks must be different integers"),
        ('[evaluation]\nexclude_same = ["label"]', "exclude_same has label: a query looks for"),
        ('[evaluation]\nexclude_same = ["a", "a"]', "exclude_same names a feature twice"),
        (
            'format = "images"\n[evaluation]\nexclude_same = ["camera"]\nslice_by = ["night"]',
            "evaluation.slice_by and exclude_same have camera, night, but images in class folders",
        ),
        (
            '[index]\ngallery = "test"',
            "index.gallery: Input should be 'window', 'train', 'eval', 'images', 'csv'",
        ),
        (
            '[index]\nenabled = false\nkind = "ivf"',
            "index: enabled = false, so kind has no effect; remove it",
        ),
        (
            '[index]\nkind = "ivf"\nexact_up_to = 9',
            'exact_up_to has no effect with kind = "ivf"; remove it, or set kind = "auto"',
        ),
        (
            '[index]\nkind = "flat"\nmin_recall = 0.9\nseed = 3',
            "min_recall, seed has no effect: a flat index of float32 is exact",
        ),
        (
            '[index]\ngallery = "images"',
            'index: gallery = "images" needs path, the folder of its images; set it, or set',
        ),
        (
            '[index]\ngallery = "csv"',
            'gallery = "csv" needs path, the folder of its csv sheets; set it, or',
        ),
        (
            '[index]\npath = "catalogue"',
            'path has no effect with gallery = "window", which is a part of [data]; set gallery',
        ),
        (
            '[index]\nenabled = false\ngallery = "images"\npath = "catalogue"',
            "enabled = false, so gallery, path has no effect; remove it",
        ),
        ('[index]\ngallery = "images"\npath = "gs://b/x*"', "has the character *, a sign of file"),
        ('format = "csv"\ntrain = "a.csv"', "train has no effect without the other of train and"),
        (
            'format = "csv"\ntrain = "a.csv"\neval = "b.csv"\npattern = "c.csv"',
            "pattern has no effect with format = 'csv' and split = 'given'; remove it",
        ),
        ('format = "csv"\neval_fraction = 0.1', "eval_fraction has no effect with format = 'csv'"),
        ('format = "parquet"\nsplit = "hash"\ntrain = "a"\neval = "b"', "eval, train has no eff"),
        (
            'train = "{SPAN}/train/*"\neval = "eval/*"',
            "data: train and eval must have the same placeholders for spans",
        ),
        ('split = "hash"\npattern = "{DAY}/*"', "has the unknown placeholder {DAY}"),
        (
            'split = "hash"\npattern = "{YYYY}-{MM}-{DD}/*"\nevaluation_span = 3',
            "evaluation_span is 3, expected a day, such as 2026-01-31, with these patterns",
        ),
        (
            'split = "hash"\npattern = "{SPAN}/*"\nevaluation_span = 2026-01-31',
            "evaluation_span is 2026-01-31, expected a number",
        ),
        ('split = "hash"\npattern = "{SPAN}/*"\nwindow = 0', "data.window"),
        ("[image]\nchannels = 2", "image.channels: Input should be 1 or 3 (found 2)"),
        ('[image]\nfit = "stretch"', "image.fit: Input should be 'letterbox', 'crop' or 'squash'"),
        (
            "[image]\nchannels = 1\n[training]\nmax_hue = 0.1",
            "max_hue has no effect on grey images; leave it out, or set channels = 3 of [image]",
        ),
        (
            '[model]\nname = "mobilenet_v3_small"\nweights = "imagenet"\ntrainable = "head"\n'
            '[training]\ndistribution = "multi_worker"\nworkers = 2\n'
            "max_shift = 0.0\nmax_rotation = 0.0\nmax_zoom = 0.0\nmax_shear = 0.0",
            "of no use with model.trainable = 'head' and no random changes",
        ),
        ("[image]\nheight = 0", "image.height: Input should be greater than or equal to 1"),
        (
            '[image]\nwidth = 31\n[model]\nname = "resnet50_v2"',
            "needs images of at least 32 × 32 pixels, not image.width = 31; raise image",
        ),
        (
            '[image]\nheight = 28\n[model]\nweights = "digits.weights.h5"',
            "needs image.width, image.channels: the weights of small_cnn fit images of one size",
        ),
        ("[training", "is not valid TOML"),
    ],
)
def test_messages_name_the_file_the_key_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL + text)
    assert message in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)


def test_a_warm_start_needs_the_size_of_the_images(tmp_path: Path) -> None:
    warm = MINIMAL.replace("[data]", "warm_start = true\n[data]")
    with pytest.raises(ConfigError, match=r"warm_start = true needs image.height, image.channels:"):
        load(tmp_path, f"{warm}[image]\nwidth = 28")
    config = load(tmp_path, f"{warm}[image]\nwidth = 28\nheight = 28\nchannels = 1")
    assert config.image.missing == ()


def test_what_of_the_image_is_not_given_is_open(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL).image.missing == ("height", "width", "channels")
    image = load(tmp_path, f"{MINIMAL}[image]\nwidth = 40").image
    assert (image.missing, image.width) == (("height", "channels"), 40)
    # Any size fits weights of networks that average over the image.
    weights = '[model]\nname = "mobilenet_v3_small"\nweights = "photos.weights.h5"'
    assert load(tmp_path, MINIMAL + weights).model.image_limits.most == 160


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)pipeline\.name.*data\.path"):
        load(tmp_path, '[pipeline]\nname = "Not A Name"\n[data]\n')


@pytest.mark.parametrize(
    "data",
    [
        'split = "hash"\ntrain = "a/*"',
        'pattern = "*"',
        "window = 3",
        "evaluation_span = 1",
        "[triplets]\nrounds_on_same_data = 2",
    ],
)
def test_a_key_without_effect_is_an_error(tmp_path: Path, data: str) -> None:
    with pytest.raises(ConfigError, match="has no effect"):
        load(tmp_path, MINIMAL + data)


@pytest.mark.parametrize("path", ["a b", "é 一", "a*b", "a?b", "[a]", "a]", "a\\b", "a~b"])
def test_paths_are_literal_or_refused_with_a_remedy(tmp_path: Path, path: str) -> None:
    """What is not refused is found: `list_files` takes its folder literally."""
    data = MINIMAL.replace("path = ", "# ") + f"path = '{path}'\n"
    assert load(tmp_path, data).data.path.endswith(f"/{path}")
    for table in (f"directory = '{path}'", f"serving = '{path}'"):
        text = MINIMAL.replace("[pipeline]", f"[pipeline]\n{table}")
        if set(path) & set("*?[]\\"):
            with pytest.raises(ConfigError, match=r"a sign of file patterns.*rename the folder"):
                load(tmp_path, text)
        else:
            assert path in load(tmp_path, text).pipeline.serving_directory


@pytest.mark.parametrize("path", ["~", "~/data"])
def test_a_tilde_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.path.*begins with ~.*write the whole path"):
        load(tmp_path, MINIMAL.replace("path = ", "# ") + f"path = '{path}'\n")


def test_a_colour_behind_transparent_images(tmp_path: Path) -> None:
    image = load(tmp_path, MINIMAL + "[image]\nbackground = '#102030'").image
    assert rgb(image.background) == (16, 32, 48)
    for wrong in ("no colour", "#11223344"):
        with pytest.raises(ConfigError, match=r"image\.background.*is no opaque colour"):
            load(tmp_path, MINIMAL + f"[image]\nbackground = '{wrong}'")


def test_spans_by_number_and_by_day(tmp_path: Path) -> None:
    assert not load(tmp_path, MINIMAL).data.has_spans
    numbers = load(tmp_path, MINIMAL + 'split = "hash"\npattern = "{SPAN:3}/*"\nwindow = 4').data
    assert (numbers.has_spans, numbers.window, numbers.fixed_span) == (True, 4, None)
    text = 'split = "hash"\npattern = "{YYYY}/{MM}/{DD}/*"\nevaluation_span = 1971-01-02'
    assert load(tmp_path, MINIMAL + text).data.fixed_span == 365 + 1


def test_thresholds_of_drift_and_skew_by_feature(tmp_path: Path) -> None:
    spans = 'pattern = "{SPAN}/*"\nsplit = "hash"\n'
    text = "[validation.drift]\nlabel = 0\nwidth = 1\n[validation.skew]\nlabel = 0.2\n"
    validation = load(tmp_path, MINIMAL + spans + text).validation
    assert validation.drift.by_feature() == {
        "image/brightness": 0.25, "image/contrast": 0.25, "image/width": 1
    }  # fmt: skip
    assert validation.skew.by_feature() == {
        "label": 0.2, "image/brightness": 0.6, "image/contrast": 0.6
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"validation\.drift has no effect unless"):
        load(tmp_path, f"{MINIMAL}{text}")
    with pytest.raises(ConfigError, match=r"validation.drift.label: .* less than or equal to 1"):
        load(tmp_path, f"{MINIMAL}{spans}[validation.drift]\nlabel = 1.5")
    with pytest.raises(ConfigError, match=r"validation.skew.colour: unknown key; allowed here: br"):
        load(tmp_path, f"{MINIMAL}[validation.skew]\ncolour = 0.5")


def test_where_a_configuration_is_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    assert config_path().stem == "mnist-sample"
    monkeypatch.setenv(CONFIG_VARIABLE, "mnist")
    assert config_path().stem == "mnist"
    with pytest.raises(ConfigError, match="mnist-sample"):
        config_path("no-such-configuration")


def test_a_preset_is_a_path_or_a_handle(tmp_path: Path) -> None:
    table = '[model]\nname = "keras_hub"\npreset = "{}"\n'
    assert load(tmp_path, MINIMAL + table.format("dino")).model.preset == str(PROJECT / "dino")
    config = load(tmp_path, MINIMAL + table.format("hf://keras/dinov2_small"))
    assert (config.model.preset, config.model.weights) == ("hf://keras/dinov2_small", "preset")
    assert config.model_dump(exclude_unset=True)["model"].keys() == {"name", "preset"}


def test_augmentation_of_a_frozen_backbone_is_what_is_set(tmp_path: Path) -> None:
    """Nothing else would let its features be computed once."""
    head = '[model]\nname = "keras_hub"\npreset = "dino"\ntrainable = "head"\n'
    config = load(tmp_path, MINIMAL + head)
    assert not config.training.changes_images
    assert "training" not in config.model_dump(exclude_unset=True)
    config = load(tmp_path, MINIMAL + head + "[training]\nmax_shift = 0.2\nsteps = 9\n")
    assert (config.training.max_shift, config.training.max_rotation) == (0.2, 0)
    assert config.model_dump(exclude_unset=True)["training"] == {"max_shift": 0.2, "steps": 9}
    other = head.replace("head", "fine_tune")
    assert load(tmp_path, MINIMAL + other).training.max_rotation > 0
