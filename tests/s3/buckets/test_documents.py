"""Settings and S3's documents of them: both ways, without loss."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.parsers
import botocore.serialize
import botocore.session
import botocore.validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.errors import FormatTooNew
from apm_s3.options import BucketSetting, Lifecycle, LifecycleRule, Replication, Tags, Versioning
from tests.profiles import examples
from tests.s3.buckets.strategies import SETTING_STRATEGIES
from tests.seams.wire import SETTINGS, source_of_documents

MODEL = botocore.session.get_session().get_service_model("s3")
KINDS = sorted(SETTINGS, key=lambda kind: kind.__name__)

# Members of the parameters that are not part of the setting itself.
ENVELOPE = {"Bucket", "ContentMD5", "ChecksumAlgorithm", "ExpectedBucketOwner", "MFA", "Token", "RequestPayer",
            "ConfirmRemoveSelfBucketAccess", "SkipDestinationValidation"}  # fmt: skip


def operation(method: str) -> Any:
    return MODEL.operation_model("".join(word.capitalize() for word in method.split("_")))


def through_the_wire(kind: type[BucketSetting], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """`params` as botocore sends them, read as botocore reads the answer of a server that kept them."""
    api = SETTINGS[kind]
    request = botocore.serialize.create_serializer("rest-xml", include_validation=True).serialize_to_request(
        {"Bucket": "b", **params}, operation(api.put)
    )
    body = request["body"]
    response = {
        "status_code": 200,
        "headers": {key.lower(): value for key, value in request["headers"].items()},
        "body": body.read() if isinstance(body, io.IOBase) else body,
    }
    shape = operation(api.get).output_shape
    parsed: Mapping[str, Any] = botocore.parsers.create_parser("rest-xml").parse(response, shape)
    return parsed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@examples(50)
def test_every_setting_round_trips_through_its_document(kind: type[BucketSetting], data: st.DataObject) -> None:
    setting = data.draw(SETTING_STRATEGIES[kind])
    api = SETTINGS[kind]

    back = api.read(through_the_wire(kind, api.write(setting)))

    assert back == setting


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@examples(50)
def test_every_document_round_trips_through_its_setting(kind: type[BucketSetting], data: st.DataObject) -> None:
    api = SETTINGS[kind]
    first = api.write(data.draw(SETTING_STRATEGIES[kind]))

    back = api.read(through_the_wire(kind, first))

    assert back is not None
    assert api.write(back) == first


def members(shape: Any, seen: tuple[str, ...] = ()) -> Iterator[str]:
    if shape.type_name == "structure" and shape.name not in seen:
        for name, member in shape.members.items():
            yield name
            yield from members(member, (*seen, shape.name))
    elif shape.type_name == "list":
        yield from members(shape.member, seen)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_member_of_the_s3_documents_is_known(kind: type[BucketSetting]) -> None:
    # SimplePrefix is S3's default key format, and says nothing.
    sources = f"SimplePrefix {source_of_documents()}"
    shape = operation(SETTINGS[kind].put).input_shape
    top = [name for name in shape.members if name not in ENVELOPE]

    wanted = set(top) | {inner for name in top for inner in members(shape.members[name])}

    assert {name for name in wanted if name not in sources} == set()


@pytest.mark.parametrize(
    ("kind", "response"),
    [
        (Lifecycle, {"Rules": [{"ID": "a", "Status": "Enabled", "Sparkles": 1}]}),
        (Lifecycle, {"Rules": [{"ID": "a", "Status": "Enabled", "Filter": {"And": {"Sparkles": 1}}}]}),
        (Lifecycle, {"Rules": [{"ID": "a", "Status": "Enabled", "Expiration": {"Sparkles": 1}}]}),
        (Replication, {"ReplicationConfiguration": {"Role": "r", "Rules": [{"ID": "a", "Sparkles": 1}]}}),
    ],
)
def test_a_document_that_a_setting_cannot_represent_is_an_error(kind: type[BucketSetting], response: Any) -> None:
    with pytest.raises(FormatTooNew, match="Sparkles"):
        SETTINGS[kind].read(response)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_empty_response_means_not_configured(kind: type[BucketSetting]) -> None:
    assert SETTINGS[kind].read({"ResponseMetadata": {}}) is None


def test_the_older_form_of_a_lifecycle_rule_is_accepted() -> None:
    read = SETTINGS[Lifecycle].read
    old = read({"Rules": [{"ID": "a", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 3}}]})

    assert old == Lifecycle(rules=(LifecycleRule(id="a", prefix="logs/", expire_days=3),))


def test_a_replication_rule_of_the_older_form_replicates_delete_markers() -> None:
    rule = {"ID": "a", "Prefix": "x", "Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::b"}}
    found = SETTINGS[Replication].read({"ReplicationConfiguration": {"Role": "r", "Rules": [rule]}})

    assert isinstance(found, Replication)
    assert (found.rules[0].prefix, found.rules[0].delete_markers) == ("x", True)


def test_system_tags_are_read_but_never_written() -> None:
    tags = Tags({"aws:cloudformation:stack": "s", "team": "apm"})

    assert SETTINGS[Tags].write(tags) == {"Tagging": {"TagSet": [{"Key": "team", "Value": "apm"}]}}
    assert Tags({"team": "apm"}).matches(tags)


def test_versioning_that_was_never_enabled_is_not_configured() -> None:
    assert SETTINGS[Versioning].read({"MFADelete": "Disabled"}) is None
