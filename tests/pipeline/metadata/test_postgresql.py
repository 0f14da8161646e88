"""What a metadata database gives back."""

from __future__ import annotations

import string

from hypothesis import given, settings, strategies as st
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.metadata.connection import connect_store
from pipeline.metadata.postgresql import BACKSLASH, STAND_IN, replace_in_strings

NASTY = r"""{"a": "{\"b\": \"\\n 'quoted' %s ; -- \"}"}""" + "\n ümläut"


def execution(kind: int, text: str) -> proto.Execution:
    made = proto.Execution(type_id=kind)
    made.properties["config"].string_value = text
    made.custom_properties["error"].string_value = text
    return made


def test_the_same_text_comes_back(metadata_url) -> None:
    store = connect_store(metadata_url)
    kind = store.put_execution_type(
        proto.ExecutionType(name="Nasty", properties={"config": proto.STRING})
    )
    asked = execution(kind, NASTY)
    (number,) = store.put_executions([asked])
    assert asked.properties["config"].string_value == NASTY  # not changed by the call
    (found,) = store.get_executions_by_id([number])
    assert found.properties["config"].string_value == NASTY
    assert found.custom_properties["error"].string_value == NASTY

    artifact_kind = store.put_artifact_type(proto.ArtifactType(name="NastyArtifact"))
    uri = r"/mnt/a\b/'c'"
    store.put_artifacts([proto.Artifact(type_id=artifact_kind, uri=uri)])
    assert [found.uri for found in store.get_artifacts_by_uri(uri)] == [uri]


def test_answers_come_in_the_order_of_the_ids(metadata_url) -> None:
    """PostgreSQL would give a changed row last, and TFX's cache would mix up the outputs."""
    store = connect_store(metadata_url)
    kinds = [store.put_artifact_type(proto.ArtifactType(name=f"Ordered{i}")) for i in range(3)]
    ids = store.put_artifacts([proto.Artifact(type_id=kind, uri=f"/{kind}") for kind in kinds])
    for number in (ids[0], ids[1]):
        (changed,) = store.get_artifacts_by_id([number])
        for value in range(5):
            changed.custom_properties["x"].int_value = value
            store.put_artifacts([changed])
    assert [one.id for one in store.get_artifacts_by_id(ids)] == ids
    assert [one.id for one in store.get_artifact_types_by_id(kinds)] == kinds
    if metadata_url.startswith("postgresql"):
        assert [one.id for one in store.get_artifacts_by_id(ids[::-1])] == ids[::-1]


texts = st.text(string.printable)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(texts, texts, texts), max_size=3))
def test_replacing_reaches_every_string_and_is_undone(rows: list[tuple[str, str, str]]) -> None:
    message = proto.LineageGraph()
    for name, value, tag in rows:
        made = message.executions.add(name=name)
        made.properties["value"].string_value = value
        message.execution_types.add(name=tag)
    original = message.SerializeToString(deterministic=True)
    replace_in_strings(message, BACKSLASH, STAND_IN)
    assert BACKSLASH not in "".join(
        [e.name + e.properties["value"].string_value for e in message.executions]
        + [t.name for t in message.execution_types]
    )
    replace_in_strings(message, STAND_IN, BACKSLASH)
    assert message.SerializeToString(deterministic=True) == original
