"""A metadata store on PostgreSQL that holds backslashes and keeps the order of what is asked for.

ML Metadata 1.21 quotes strings for PostgreSQL with libpq's PQescapeLiteral and takes the first and
last character of the result for the quotes. A string with a backslash comes back as ` E'…'`, so
that the statement is broken and the node fails; JSON within JSON, as in `stats_options_json` and
`custom_config`, is full of them. Here a character of Unicode's private use stands for the backslash
in the database, and nowhere else.

PostgreSQL returns rows in any order, and a changed row later than before. TFX's cache pairs the
artifacts that it asks for with their names by position: after a rollback, which changes artifacts,
it would take a `model_run` for a `model` (`tfx.orchestration.portable.cache_utils`, TFX 1.21). Here
what is asked for by ids comes in the order of the ids.
"""

from __future__ import annotations

from typing import Any

import ml_metadata as mlmd
from google.protobuf import message
from google.protobuf.descriptor import FieldDescriptor
from ml_metadata.proto import metadata_store_pb2 as proto

BACKSLASH, STAND_IN = "\\", "\ue05c"
# Method → field of the ids in the request, and of the answers in the response.
_BY_ID = {
    "GetArtifactsByID": ("artifact_ids", "artifacts"),
    "GetArtifactTypesByID": ("type_ids", "artifact_types"),
    "GetExecutionsByID": ("execution_ids", "executions"),
    "GetExecutionTypesByID": ("type_ids", "execution_types"),
    "GetContextsByID": ("context_ids", "contexts"),
    "GetContextTypesByID": ("type_ids", "context_types"),
}


def make_store(config: proto.ConnectionConfig | proto.MetadataStoreClientConfig) -> Any:
    """Makes the store for a connection; see `pipeline.metadata.connection.connection_config`."""
    if isinstance(config, proto.ConnectionConfig) and config.HasField("postgresql"):
        return PostgresqlStore(config)
    return mlmd.MetadataStore(config)


class PostgresqlStore(mlmd.MetadataStore):
    """Replaces backslashes on the way in, brings them back on the way out, and sorts answers."""

    def _call(
        self,
        method_name: str,
        request: message.Message,
        response: message.Message,
        extra_options: Any = None,
    ) -> None:
        """Every method of the store comes through here."""
        sent = type(request)()
        sent.CopyFrom(request)
        replace_in_strings(sent, BACKSLASH, STAND_IN)
        super()._call(method_name, sent, response, extra_options)
        replace_in_strings(response, STAND_IN, BACKSLASH)
        if method_name in _BY_ID:
            asked, answered = _BY_ID[method_name]
            order = {number: position for position, number in enumerate(getattr(request, asked))}
            getattr(response, answered).sort(key=lambda item: order[item.id])


def replace_in_strings(target: message.Message, old: str, new: str) -> None:
    """Replaces a character in every string of a message, in place; keys of maps stay."""
    for field, value in target.ListFields():
        kind = field.type
        is_map = kind == FieldDescriptor.TYPE_MESSAGE and field.message_type.GetOptions().map_entry
        if is_map:
            entry = field.message_type.fields_by_name["value"]
            for key in value:
                if entry.type == FieldDescriptor.TYPE_MESSAGE:
                    replace_in_strings(value[key], old, new)
                elif entry.type == FieldDescriptor.TYPE_STRING:
                    value[key] = value[key].replace(old, new)
        elif kind == FieldDescriptor.TYPE_MESSAGE:
            for item in value if _repeated(value) else [value]:
                replace_in_strings(item, old, new)
        elif kind == FieldDescriptor.TYPE_STRING:
            if not isinstance(value, str):
                value[:] = [item.replace(old, new) for item in value]
            elif old in value:
                setattr(target, field.name, value.replace(old, new))


def _repeated(value: Any) -> bool:
    return not isinstance(value, message.Message)
