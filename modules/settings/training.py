"""The table `[training]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from modules.settings.base import MOST_SEED, MOST_STEPS, Fraction, Settings, with_defaults
from modules.settings.loss import LossSettings

MOST_IN_BATCH = 100_000  # images; each is in memory, with what every layer makes of it
MOST_MEGABYTES = 10**8
MULTI_WORKER = "multi_worker"


class OptimizerSettings(Settings):
    """How the weights move; part of `[training]`. See `modules.training.optimizers`."""

    learning_rate: Annotated[float, Field(gt=0, le=1, description="the highest one")] = 2e-3
    schedule: Annotated[
        Literal["cosine", "constant"], Field(description="of the learning rate")
    ] = "cosine"
    rate_warmup_steps: Annotated[
        Annotated[int, Field(ge=0, le=MOST_STEPS)] | None,
        Field(description="steps in which the rate rises; default: a tenth of all, but 50 at most"),
    ] = None
    weight_decay: Annotated[float, Field(ge=0, lt=1, description="of AdamW")] = 0.0
    clip_norm: Annotated[
        Annotated[float, Field(gt=0, le=1e6)] | None,
        Field(description="longest gradient of all weights together"),
    ] = None
    ema: Annotated[
        float,
        Field(ge=0, lt=1, description="momentum of averaged weights, 0 for none; 0.99 is usual"),
    ] = 0.0


class AugmentationSettings(Settings):
    """Random changes of training images, each at most so large; part of `[training]`.

    The defaults are light: what they change, people hardly notice.
    """

    max_shift: Annotated[Fraction, Field(description="of height and width")] = 0.08
    max_rotation: Annotated[Fraction, Field(description="of a full turn")] = 0.04
    max_zoom: Annotated[float, Field(ge=0, lt=1, description="0.1: 0.9 to 1.1 times the size")] = (
        0.1
    )
    max_shear: Annotated[
        float, Field(ge=0, lt=1, description="0.2: x moves by up to 0.2 for each pixel of y")
    ] = 0.1
    max_crop: Annotated[
        float,
        Field(ge=0, lt=1, description="0.8: crops of 0.2 to all of the area, scaled to the whole"),
    ] = 0.0
    max_stretch: Annotated[
        float, Field(ge=0, le=3, description="0.33: crops up to 4/3 as wide, or as high, in form")
    ] = 0.0
    horizontal_flip: Annotated[bool, Field(description="mirror half of the images")] = False
    turn_classes: Annotated[
        bool, Field(description="a class turned by quarters is learned as three further classes")
    ] = False
    mirror_classes: Annotated[
        bool, Field(description="a mirrored class is learned as a class of its own")
    ] = False
    bend_classes: Annotated[
        float,
        Field(
            ge=0,
            le=0.3,
            description="0.05: a class bent by about so much of height and width is learned as a "
            "class of its own, in each step another one",
        ),
    ] = 0.0
    max_brightness: Annotated[
        float, Field(ge=0, le=10, description="in standard deviations of the train split's pixels")
    ] = 0.0
    max_contrast: Annotated[Fraction, Field(description="0.2: 0.8 to 1.2 times the contrast")] = 0.0
    max_saturation: Annotated[
        Fraction, Field(description="0.4: 0.6 to 1.4 times as colourful; of colour images")
    ] = 0.0
    max_hue: Annotated[
        float, Field(ge=0, le=0.5, description="of the full circle of colours; of colour images")
    ] = 0.0
    max_erased: Annotated[
        float, Field(ge=0, lt=1, description="of the area, a rectangle painted over")
    ] = 0.0

    @property
    def moves_pixels(self) -> bool:
        """Whether images are resampled."""
        moves = (self.max_shift, self.max_rotation, self.max_zoom, self.max_shear)
        return any(moves) or self.crops or self.horizontal_flip or self.orients_classes

    @property
    def orients_classes(self) -> bool:
        """Whether classes are turned or mirrored."""
        return self.turn_classes or self.mirror_classes

    @model_validator(mode="after")
    def _mirrored_is_one_or_the_other(self) -> Self:
        if self.horizontal_flip and self.mirror_classes:
            raise ValueError(
                "horizontal_flip says that a mirrored image is of the same class, mirror_classes "
                "that it is of another; set one of them"
            )
        return self

    @property
    def crops(self) -> bool:
        """Whether a part of each image is made the whole."""
        return bool(self.max_crop or self.max_stretch)

    def check_channels(self, channels: int) -> None:
        """Checks that images have what is to be changed.

        Raises:
            ValueError: Colours of grey images are to be changed.
        """
        for key in ("max_saturation", "max_hue"):
            if channels == 1 and getattr(self, key):
                raise ValueError(
                    f"{key} has no effect on grey images; leave it out, or set channels = 3 of "
                    "[image]"
                )

    @property
    def changes_images(self) -> bool:
        """Whether a training image is ever another one than the image itself."""
        return any(getattr(self, key) for key in AugmentationSettings.model_fields)


class TrainingSettings(LossSettings, OptimizerSettings, AugmentationSettings):
    """`[training]`: how the network learns.

    With `batches = "triplets"` a batch is made of TripletGen's triplets: with `mining = "none"` it
    is these triplets, else their images, each once. With `batches = "classes"` TripletGen's choice
    plays no part: a batch holds up to `images_per_class` images of each of up to
    `classes_per_batch` classes (several such groups of a class, where there are fewer classes).
    """

    steps: Annotated[
        Annotated[int, Field(ge=1, le=MOST_STEPS)] | None,
        Field(description="batches to learn from, at most; default: from the data"),
    ] = None
    minutes: Annotated[
        Annotated[float, Field(gt=0, le=60 * 24 * 366)] | None,
        Field(description="of training, at most; without `steps`, as many as fit into them"),
    ] = None
    batches: Annotated[
        Literal["triplets", "classes"],
        Field(description="made of TripletGen's triplets, or of P classes with K images each"),
    ] = "triplets"
    batch_size: Annotated[
        Annotated[int, Field(ge=6, le=MOST_IN_BATCH)] | None,
        Field(description="images in a batch of triplets, at most; default: by the image size"),
    ] = None
    classes_per_batch: Annotated[
        int, Field(ge=2, le=MOST_IN_BATCH, description='with `batches = "classes"`')
    ] = 96
    images_per_class: Annotated[
        int, Field(ge=2, le=MOST_IN_BATCH, description='with `batches = "classes"`')
    ] = 4
    cache_megabytes: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_MEGABYTES,
            description="keep decoded images if all of them take no more; 0: never",
        ),
    ] = 1024
    disk_cache_megabytes: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_MEGABYTES,
            description="else keep them in a file if it takes no more, nor over half of what the "
            "disk has free; 0: never",
        ),
    ] = 16 * 1024
    warmup_steps: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_STEPS,
            description='`semi_hard` before `hard`; default: 200 with `mining = "hard"`',
        ),
    ] = 0
    compatibility_weight: Annotated[
        float,
        Field(
            ge=0,
            le=1000,
            description="of the loss that keeps new queries at home in the vectors of the last "
            "blessed model, beside the other loss; 0: none",
        ),
    ] = 0.0
    precision: Annotated[
        Literal["float32", "mixed_bfloat16", "mixed_float16"],
        Field(description="of the training step; the exported model is float32"),
    ] = "float32"
    distribution: Annotated[
        str,
        Field(
            pattern=r"^(one|mirrored|multi_worker|/.+)$",
            description="`mirrored`: all GPUs; `multi_worker`: several machines; or a device, such "
            "as `/GPU:0`",
        ),
    ] = "one"
    workers: Annotated[
        Annotated[int, Field(ge=2, le=1000)] | None,
        Field(description='machines, with `distribution = "multi_worker"`'),
    ] = None
    validate_every: Annotated[
        Annotated[int, Field(ge=1, le=MOST_STEPS)] | None,
        Field(description="so many steps; default: a tenth of them"),
    ] = None
    patience: Annotated[
        int, Field(ge=1, le=MOST_STEPS, description="validations without improvement")
    ] = 5
    guard_window: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_STEPS,
            description="validations without a sign of learning that end training",
        ),
    ] = 3
    resume: Annotated[bool, Field(description="go on where a killed training stopped")] = True
    projector: Annotated[bool, Field(description="draw the embedding of the validation part")] = (
        True
    )
    seed: Annotated[
        int, Field(ge=0, le=MOST_SEED, description="of weights, batches and random changes")
    ] = 0

    @model_validator(mode="wrap")
    @classmethod
    def _default_warmup(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict) or values.get("mining") != "hard":
            return check(values)
        missing = {} if "warmup_steps" in values else {"warmup_steps": 200}
        return with_defaults(check, values, missing)

    @model_validator(mode="after")
    def _batch_keys_have_an_effect(self) -> TrainingSettings:
        of_classes = ("classes_per_batch", "images_per_class")
        for name in of_classes if self.batches == "triplets" else ("batch_size",):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} has no effect with batches = '{self.batches}'; batches of triplets "
                    "have batch_size images, those of classes classes_per_batch × images_per_class"
                )
        if self.batches == "classes" and self.mining == "none":
            raise ValueError(
                "mining = 'none' trains on TripletGen's triplets, and batches = 'classes' has "
                "none; set batches = 'triplets', or another mining"
            )
        return self

    @model_validator(mode="after")
    def _bent_classes_can_be_told_apart(self) -> TrainingSettings:
        if not self.bend_classes:
            return self
        if self.loss == "proxy_anchor":
            raise ValueError(
                "bend_classes makes new classes in every step, and loss = 'proxy_anchor' has a "
                "point for each class of the data; set bend_classes = 0, or another loss"
            )
        if self.mining == "none":
            raise ValueError(
                "bend_classes parts the images of a class, and with it the triplets that mining = "
                "'none' trains on; set bend_classes = 0, or another mining"
            )
        return self

    @model_validator(mode="after")
    def _workers_make_sense(self) -> TrainingSettings:
        if self.distribution != MULTI_WORKER:
            if self.workers is not None:
                raise ValueError(
                    f"workers has no effect with distribution = '{self.distribution}'; set "
                    "distribution = 'multi_worker', or leave workers out"
                )
            return self
        if self.workers is None:
            raise ValueError(
                "distribution = 'multi_worker' needs workers, the number of machines; for all GPUs "
                "of one machine set distribution = 'mirrored'"
            )
        if self.minutes is not None:
            raise ValueError(
                "minutes is no limit for distribution = 'multi_worker', since the clocks of "
                "several machines would end training at different steps; set steps instead"
            )
        of_classes = self.classes_per_batch * self.images_per_class
        size = of_classes if self.batches == "classes" else self.batch_size
        if size and size % self.workers:
            what = "classes_per_batch × images_per_class" if self.batches == "classes" else (
                "batch_size"
            )  # fmt: skip
            less = size - size % self.workers
            raise ValueError(
                f"{what} = {size} images cannot be shared equally by {self.workers} workers; "
                f"{less or self.workers} or {less + self.workers} could"
            )
        return self

    @model_validator(mode="after")
    def _warmup_has_an_effect(self) -> TrainingSettings:
        if self.warmup_steps and self.mining != "hard":
            chosen = f"mining = '{self.mining}'" if self.mining else f"loss = '{self.loss}'"
            raise ValueError(
                f"warmup_steps has no effect with {chosen}; it trains with semi_hard before "
                "mining = 'hard'"
            )
        if self.steps is not None:
            self.check_steps(self.steps)
        return self

    def check_steps(self, steps: int) -> None:
        """Checks a number of steps, given or chosen.

        Raises:
            ValueError: It is over before hard mining, or the full learning rate, begins.
        """
        if self.mining == "hard" and self.warmup_steps >= steps:
            raise ValueError(
                f"hard mining would never begin: warmup_steps is {self.warmup_steps} and steps is "
                f"{steps}; lower warmup_steps"
            )
        if self.memory and self.memory_from_step >= steps:
            raise ValueError(
                f"the memory would never count: memory_from_step is {self.memory_from_step} and "
                f"steps is {steps}; lower memory_from_step"
            )
        if self.rate_warmup_steps is not None and self.rate_warmup_steps >= steps:
            raise ValueError(
                f"the learning rate would never be reached: rate_warmup_steps is "
                f"{self.rate_warmup_steps} and steps is {steps}; lower rate_warmup_steps"
            )
