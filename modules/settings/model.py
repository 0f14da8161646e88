"""The table `[model]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from modules.settings.base import Settings, with_defaults
from modules.settings.image import ImageLimits, ImageSettings, ImageTable

KERAS_HUB, PRESET = "keras_hub", "preset"
WEIGHTS = (
    "`none`, `imagenet`, `preset` (the default with `keras_hub`) or the path of a weights file"
)
# Most presets were trained with this side; what is larger would be thrown away.
_SIDE_OF_PRESETS, _LEAST_OF_PRESET = 224, 14
_OWN = ("small_cnn", "residual_cnn")


class ModelSettings(Settings):
    """`[model]`: which embedding network, what it starts from and what of it learns.

    `trainable`: `all` of it; only the `head` on a frozen backbone; `fine_tune`, the backbone too
    but slower; or `lora`, small matrices beside the weights of its attention, which are added to
    them at the end. All but `all` keep the pre-trained statistics of batch normalisation.
    """

    name: Annotated[
        Literal[
            "small_cnn",
            "residual_cnn",
            "efficientnet_v2_b0",
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            "resnet50_v2",
            "convnext_tiny",
            "keras_hub",
        ],
        Field(description="the backbone"),
    ] = "small_cnn"
    embedding_size: Annotated[int, Field(ge=2, le=4096, description="numbers per image")] = 128
    preset: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(description="of `keras_hub`: a folder, `gs://…`, `hf://…` or `kaggle://…`"),
    ] = None
    weights: Annotated[str, Field(min_length=1, description=WEIGHTS)] = "none"
    trainable: Annotated[
        Literal["all", "head", "fine_tune", "lora"], Field(description="which weights learn")
    ] = "all"
    lora_rank: Annotated[
        int, Field(ge=1, le=256, description="of the matrices beside the weights, with `lora`")
    ] = 8
    backbone_learning_rate_factor: Annotated[
        float, Field(gt=0, le=1, description="of `[training] learning_rate`, with `fine_tune`")
    ] = 0.1
    dropout: Annotated[float, Field(ge=0, lt=1, description="of the features")] = 0.0
    batch_norm: Annotated[bool, Field(description="of the embedding, before its length is 1")] = (
        True
    )

    @property
    def published(self) -> bool:
        """Whether keras.applications publishes ImageNet weights of this network."""
        return self.name not in (*_OWN, KERAS_HUB)

    @property
    def least_image_size(self) -> int:
        """The smallest height and width that the network can take, in pixels."""
        # Images for a preset are resized to what it was trained with.
        return {"small_cnn": 10, "residual_cnn": 12, KERAS_HUB: 1}.get(self.name, 32)

    @property
    def image_limits(self) -> ImageLimits:
        """The sides that Transform may choose for this network.

        The most is what a processor without a GPU trains in minutes. Published weights saw larger
        images, so with them it is higher.
        """
        if self.name == KERAS_HUB:
            return ImageLimits(least=_LEAST_OF_PRESET, most=_SIDE_OF_PRESETS)
        most = 64 if not self.published else 96 if self.weights == "none" else 160
        return ImageLimits(least=self.least_image_size, most=most)

    @property
    def needs_known_image(self) -> bool:
        """Whether the weights fit images of one shape only, so that none may be chosen."""
        return self.name in _OWN and self.weights != "none"

    @model_validator(mode="wrap")
    @classmethod
    def _default_weights(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict) or values.get("name") != KERAS_HUB or "weights" in values:
            return check(values)
        return with_defaults(check, values, {"weights": PRESET})

    @model_validator(mode="after")
    def _preset_goes_with_keras_hub(self) -> ModelSettings:
        if (self.name == KERAS_HUB) != (self.preset is not None):
            raise ValueError(
                f"name = '{self.name}' and preset = {self.preset!r} do not go together: name = "
                "'keras_hub' needs a preset, such as a folder or 'hf://keras/dinov2_small', and no "
                "other network has one"
            )
        if self.weights == PRESET and self.name != KERAS_HUB:
            raise ValueError(
                f"weights = 'preset' is for name = 'keras_hub', not for {self.name}; set weights "
                "to 'none', or to the path of a weights file"
            )
        return self

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
        rank = type(self).model_fields["lora_rank"].default
        if self.trainable == "lora" and self.name != KERAS_HUB:
            raise ValueError(
                f"trainable = 'lora' is for name = 'keras_hub', not for {self.name}; set trainable "
                "= 'fine_tune'"
            )
        if self.trainable != "lora" and self.lora_rank != rank:
            raise ValueError(
                f"lora_rank has no effect with trainable = '{self.trainable}'; remove it, or set "
                "trainable = 'lora'"
            )
        factor = type(self).model_fields["backbone_learning_rate_factor"]
        if self.trainable != "fine_tune" and self.backbone_learning_rate_factor != factor.default:
            raise ValueError(
                "backbone_learning_rate_factor has no effect with trainable = "
                f"'{self.trainable}'; remove it, or set trainable = 'fine_tune'"
            )
        return self

    def check_image(self, image: ImageSettings | ImageTable) -> None:
        """Checks that the network can take images of this size.

        Args:
            image: A side that is not given is chosen large enough.

        Raises:
            ValueError: They are too small.
        """
        least = self.least_image_size
        sides = {"height": image.height, "width": image.width}
        small = {key: side for key, side in sides.items() if side is not None and side < least}
        if small:
            found = " and ".join(f"image.{key} = {side}" for key, side in small.items())
            raise ValueError(
                f"model.name = '{self.name}' needs images of at least {least} × {least} pixels, "
                f"not {found}; raise image.height and image.width (smaller files are scaled up), "
                "leave them out or choose another network"
            )
