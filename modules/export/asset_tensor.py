"""A tensor that a SavedModel reads from a file beside it, once, when it is loaded."""

from __future__ import annotations

import tensorflow as tf


class AssetTensor(tf.saved_model.experimental.TrackableResource):
    """A tensor in a file of the folder `assets`.

    The file can be replaced after the model was saved: that is how a push gives a model its
    gallery. It is read when the model is loaded, by Python and by TensorFlow Serving, in the way in
    which lookup tables read theirs.
    """

    def __init__(self, asset: tf.saved_model.Asset, name: str, dtype: tf.DType) -> None:
        """Describes the tensor; nothing is read.

        Args:
            asset: Of a file with what `tf.io.serialize_tensor` makes. The model must track it by
                itself: resources do not track what they have.
            name: Of the tensor in the graph. Loading makes it unique, so two versions in one
                process share nothing.
            dtype: Of the tensor.
        """
        super().__init__()
        self._asset = asset
        self._name = name
        self._dtype = dtype
        with tf.init_scope():  # not in the function that happens to read it first
            self._handle = self.resource_handle

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=self._dtype, shape=None, shared_name=self._name)

    def _initialize(self) -> None:
        content = tf.io.read_file(self._asset.asset_path)
        value = tf.io.parse_tensor(content, self._dtype)
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle)

    def read(self) -> tf.Tensor:
        """The tensor; its shape is not known before."""
        return tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=self._dtype)
