"""Typed settings of what runs inside the nodes; `pipeline.config` puts them into its tables.

They live here because Transform and Trainer receive them as `custom_config` and check them again:
a user module must not depend on the pipeline that called it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """A table of settings: unknown keys are errors, values are not coerced or changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class ImageSettings(Settings):
    """`[image]`: what the network sees of an image."""

    height: Annotated[int, Field(ge=1, le=4096)] = 28
    width: Annotated[int, Field(ge=1, le=4096)] = 28
    channels: Literal[1, 3] = 1


class ModelSettings(Settings):
    """`[model]`: which embedding network, what it starts from and what of it learns.

    `trainable`: `all` of it; only the `head` on a frozen backbone; or `fine_tune`, the backbone too
    but slower. The last two keep the pre-trained statistics of batch normalisation.
    """

    name: Literal[
        "small_cnn",
        "residual_cnn",
        "efficientnet_v2_b0",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "resnet50_v2",
    ] = "small_cnn"
    embedding_size: Annotated[int, Field(ge=2, le=4096)] = 128
    weights: Annotated[
        str, Field(min_length=1, description="'none', 'imagenet' or the path of a weights file")
    ] = "none"
    trainable: Literal["all", "head", "fine_tune"] = "all"
    backbone_learning_rate_factor: Annotated[
        float, Field(gt=0, le=1, description="of training.learning_rate, with fine_tune")
    ] = 0.1
    dropout: Annotated[float, Field(ge=0, lt=1, description="of the features")] = 0.0
    batch_norm: Annotated[bool, Field(description="of the embedding, before its length is 1")] = (
        False
    )

    @property
    def published(self) -> bool:
        """Whether keras.applications publishes ImageNet weights of this network."""
        return self.name not in ("small_cnn", "residual_cnn")

    @property
    def least_image_size(self) -> int:
        """The smallest height and width that the network can take, in pixels."""
        return {"small_cnn": 10, "residual_cnn": 12}.get(self.name, 32)

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> ModelSettings:
        if self.weights == "imagenet" and not self.published:
            raise ValueError(
                f"there are no ImageNet weights of {self.name}; set weights to 'none' or to the "
                "path of a weights file"
            )
        if self.weights == "none" and self.trainable != "all":
            raise ValueError(
                f"trainable = '{self.trainable}' would keep random weights; set weights, or "
                "trainable = 'all'"
            )
        factor = type(self).model_fields["backbone_learning_rate_factor"]
        if self.trainable != "fine_tune" and self.backbone_learning_rate_factor != factor.default:
            raise ValueError(
                "backbone_learning_rate_factor has no effect with trainable = "
                f"'{self.trainable}'; remove it, or set trainable = 'fine_tune'"
            )
        return self

    def check_image(self, image: ImageSettings) -> None:
        """Checks that the network can take images of this size.

        Raises:
            ValueError: They are too small.
        """
        least = self.least_image_size
        if min(image.height, image.width) < least:
            raise ValueError(
                f"model.name = '{self.name}' needs images of at least {least} × {least} pixels, "
                f"not {image.height} × {image.width}; raise image.height and image.width (smaller "
                "files are scaled up) or choose another network"
            )


class ExportSettings(Settings):
    """`[export]`: what is written beside the SavedModel.

    The similarity of a TFLite model is that of its embeddings to the network's, 1 for equal ones:
    the least over the compared images of the eval split.
    """

    tflite: Annotated[bool, Field(description="write a float and a quantised TFLite model")] = True
    min_similarity_float: Fraction = 0.999
    min_similarity_dynamic: Fraction = 0.99


class LossSettings(Settings):
    """What `modules.losses` minimises; part of `[training]`."""

    loss: Literal["margin", "soft_margin"] = "margin"
    distance: Literal["squared_l2", "l2", "cosine"] = "squared_l2"
    margin: Annotated[
        Annotated[float, Field(gt=0, le=4)] | None,
        Field(description="in the chosen distance; default: 0.2 with loss = 'margin'"),
    ] = None
    swap: Annotated[bool, Field(description="d_an is the smaller one of d_an and d_pn")] = False
    mining: Literal["none", "all", "semi_hard", "hard", "easy_positive", "distance_weighted"] = (
        "semi_hard"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_margin(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("loss", "margin") == "margin":
            return {"margin": 0.2} | values
        return values

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> LossSettings:
        if self.loss == "soft_margin" and self.margin is not None:
            raise ValueError("margin has no effect with loss = 'soft_margin'; remove it")
        if self.loss == "margin" and self.margin is None:
            raise ValueError("margin must be a number with loss = 'margin'")
        largest = 4 if self.distance == "squared_l2" else 2
        if self.margin is not None and self.margin > largest:
            raise ValueError(
                f"margin is {self.margin:g}, but no distance = '{self.distance}' is greater than "
                f"{largest}; a margin above it can never be reached"
            )
        if self.swap and self.mining not in ("none", "all", "hard"):
            raise ValueError(
                f"swap makes no sense with mining = '{self.mining}': it picks negatives by their "
                "distance from the anchor and swap would replace that distance; set swap = false "
                "or mining to 'none', 'all' or 'hard'"
            )
        return self


class OptimizerSettings(Settings):
    """How the weights move; part of `[training]`. See `modules.optimizers`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    rate_warmup_steps: Annotated[int, Field(ge=0, description="steps in which the rate rises")] = 0
    weight_decay: Annotated[float, Field(ge=0, lt=1, description="of AdamW")] = 0.0
    clip_norm: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Field(description="longest gradient of all weights together"),
    ] = None
    ema: Annotated[
        float,
        Field(ge=0, lt=1, description="momentum of averaged weights, 0 for none; 0.99 is usual"),
    ] = 0.0


class AugmentationSettings(Settings):
    """Random changes of training images, each at most so large; part of `[training]`."""

    max_shift: Annotated[Fraction, Field(description="of height and width")] = 0.0
    max_rotation: Annotated[Fraction, Field(description="of a full turn")] = 0.0
    max_zoom: Annotated[float, Field(ge=0, lt=1, description="0.1: 0.9 to 1.1 times the size")] = (
        0.0
    )
    max_shear: Annotated[
        float, Field(ge=0, lt=1, description="0.2: x moves by up to 0.2 for each pixel of y")
    ] = 0.0
    horizontal_flip: Annotated[bool, Field(description="mirror half of the images")] = False
    max_brightness: Annotated[
        float, Field(ge=0, description="in standard deviations of the train split's pixels")
    ] = 0.0
    max_contrast: Annotated[Fraction, Field(description="0.2: 0.8 to 1.2 times the contrast")] = 0.0

    @property
    def moves_pixels(self) -> bool:
        """Whether images are resampled."""
        moves = (self.max_shift, self.max_rotation, self.max_zoom, self.max_shear)
        return any(moves) or self.horizontal_flip


class TrainingSettings(LossSettings, OptimizerSettings, AugmentationSettings):
    """`[training]`: how the network learns.

    With `mining = "none"` a batch holds `batch_size` triplets of TripletGen; with every other
    mining it holds up to `images_per_class` images of each of up to `classes_per_batch` classes
    (several such groups of a class, where there are fewer classes).
    """

    steps: Annotated[int, Field(ge=1)] = 600
    batch_size: Annotated[int, Field(ge=2, description="triplets, with mining = 'none'")] = 128
    classes_per_batch: Annotated[int, Field(ge=2)] = 96
    images_per_class: Annotated[int, Field(ge=2)] = 4
    cache_megabytes: Annotated[
        int, Field(ge=0, description="keep decoded images if all of them take no more; 0: never")
    ] = 1024
    warmup_steps: Annotated[
        int, Field(ge=0, description="semi_hard before hard; default: 200 with mining = 'hard'")
    ] = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    distribution: Annotated[
        str, Field(pattern=r"^(one|mirrored|/.+)$", description="or a device, such as '/GPU:0'")
    ] = "one"
    validate_every: Annotated[int, Field(ge=1, description="steps")] = 100
    validation_images: Annotated[int, Field(ge=2, description="the most to embed")] = 2000
    patience: Annotated[int, Field(ge=1, description="validations without improvement")] = 5
    guard_window: Annotated[
        int, Field(ge=1, description="validations with the loss at the margin that end training")
    ] = 3
    resume: Annotated[bool, Field(description="go on where a killed training stopped")] = True
    projector: Annotated[bool, Field(description="draw the embedding of the eval split")] = True
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _default_warmup(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("mining") == "hard":
            return {"warmup_steps": 200} | values
        return values

    @model_validator(mode="after")
    def _batch_keys_have_an_effect(self) -> TrainingSettings:
        mined = ("classes_per_batch", "images_per_class")
        for name in mined if self.mining == "none" else ("batch_size",):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} has no effect with mining = '{self.mining}'; batches are made of "
                    "batch_size triplets with mining = 'none', and of classes_per_batch × "
                    "images_per_class images else"
                )
        return self

    @model_validator(mode="after")
    def _warmup_has_an_effect(self) -> TrainingSettings:
        if self.warmup_steps and self.mining != "hard":
            raise ValueError(
                f"warmup_steps has no effect with mining = '{self.mining}'; it trains with "
                "semi_hard before mining = 'hard'"
            )
        if self.mining == "hard" and self.warmup_steps >= self.steps:
            raise ValueError(
                f"hard mining would never begin: warmup_steps is {self.warmup_steps} and steps is "
                f"{self.steps}; lower warmup_steps"
            )
        if self.rate_warmup_steps >= self.steps:
            raise ValueError(
                f"the learning rate would never be reached: rate_warmup_steps is "
                f"{self.rate_warmup_steps} and steps is {self.steps}; lower rate_warmup_steps"
            )
        return self


def from_custom_config(kind: type[T], custom_config: dict[str, Any] | None) -> T:
    """Reads one table out of a node's `custom_config`.

    Args:
        kind: The settings class; its table is named after it (`ImageSettings` is `image`).
        custom_config: As TFX hands it to `preprocessing_fn` or in `fn_args`; table name to values.

    Returns:
        The checked settings; defaults where the table is missing.

    Raises:
        pydantic.ValidationError: A key or a value is not allowed; the message names both.
    """
    table = kind.__name__.removesuffix("Settings").lower()
    return kind.model_validate((custom_config or {}).get(table, {}))
