"""Settings: which are equal, which differences need no change, and which settings S3 would refuse."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from apm_s3.errors import InvalidOption
from apm_s3.options import (
    BucketOptions,
    BucketSetting,
    Cors,
    CorsRule,
    Encryption,
    Lifecycle,
    LifecycleRule,
    Notification,
    Notifications,
    ObjectLock,
    Policy,
    Replication,
    ReplicationDestination,
    ReplicationRule,
    Tags,
    Versioning,
)


def statement(**members: Any) -> str:
    base = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**base, **members}]})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"Action": ["s3:Put*", "s3:Get*"]}, {"Action": ["s3:Get*", "s3:Put*"]}),
        ({"Action": ["s3:Get*"]}, {"Action": "s3:Get*"}),
        ({"Principal": {"AWS": "123456789012"}}, {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}),
        ({"Condition": {"Bool": {"k": False}}}, {"Condition": {"Bool": {"k": "false"}}}),
    ],
)
def test_equivalent_policies_are_equal(written: dict[str, Any], read: dict[str, Any]) -> None:
    one, other = Policy(statement(**written)), Policy(statement(**read))

    assert one == other
    assert hash(one) == hash(other)
    assert one.text != other.text


def test_policies_with_different_meanings_differ() -> None:
    assert Policy(statement()) != Policy(statement(Effect="Allow"))
    assert Policy(statement()) != statement()
    assert Policy("{") != Policy("[")


def test_the_text_of_a_policy_is_kept_unchanged() -> None:
    text = '{ "Version":"2012-10-17",\n "Statement": [ ] }'

    assert Policy(text).text == text


def test_blocked_encryption_types_are_left_to_s3_by_default() -> None:
    found = Encryption(blocked_types=("SSE-C",))

    assert Encryption().matches(found)
    assert not Encryption(blocked_types=()).matches(found)
    assert not Encryption(algorithm="aws:kms").matches(found)
    assert not Encryption().matches(None)


def test_generated_ids_and_order_are_not_differences() -> None:
    one = Notification(arn="a", events=("x", "y"), prefix="p/")
    two = Notification(arn="b", events=("x",))
    found = Notifications(
        queues=(
            Notification(arn="b", events=("x",), id="made-up-2"),
            Notification(arn="a", events=("y", "x"), prefix="p/", id="made-up-1"),
        )
    )

    assert Notifications(queues=(one, two)).matches(found)
    assert not Notifications(queues=(one,)).matches(found)
    assert not Notifications(queues=(one, one)).matches(found)
    assert not Notifications(topics=(one, two)).matches(found)
    assert not Notifications(queues=(one, two), eventbridge=True).matches(found)


def test_an_id_or_zero_generated_by_the_server_is_not_a_cors_difference() -> None:
    wanted = Cors((CorsRule(methods=("GET",), origins=("*",)),))

    assert wanted.matches(Cors((CorsRule(methods=("GET",), origins=("*",), id="x", max_age=0),)))
    assert not wanted.matches(Cors((CorsRule(methods=("GET",), origins=("*",), max_age=9),)))
    assert not wanted.matches(None)


def replication(**rule: Any) -> Replication:
    destination = ReplicationDestination(bucket="arn:aws:s3:::b", **rule.pop("destination", {}))
    return Replication(role="r", rules=(ReplicationRule(id="a", priority=1, destination=destination, **rule),))


REFUSED: dict[str, BucketSetting] = {
    "a KMS key without KMS": Encryption(kms_key_id="k"),
    "a policy that is no JSON": Policy("{"),
    "a policy that is a list": Policy("[]"),
    "a policy without statements": Policy("{}"),
    "a policy that is too large": Policy(statement(Sid="x" * 21_000)),
    "51 tags": Tags({str(number): "" for number in range(51)}),
    "an empty tag": Tags({"": "x"}),
    "a long tag": Tags({"a": "x" * 257}),
    "a lock mode without a period": ObjectLock(mode="GOVERNANCE"),
    "a lock with two periods": ObjectLock(mode="GOVERNANCE", days=1, years=1),
    "a lock for no time": ObjectLock(mode="COMPLIANCE", days=0),
    "a period without a mode": ObjectLock(days=1),
    "no CORS rules": Cors(()),
    "a CORS rule without origins": Cors((CorsRule(methods=("GET",), origins=()),)),
    "a CORS rule of an unknown method": Cors((CorsRule(methods=("PATCH",), origins=("*",)),)),
    "a notification without events": Notifications(topics=(Notification(arn="a", events=()),)),
    "no replication rules": Replication(role="r", rules=()),
    "a destination that is no ARN": Replication(
        role="r", rules=(ReplicationRule(id="a", destination=ReplicationDestination(bucket="b")),)
    ),
    "one priority twice": Replication(role="r", rules=replication().rules * 2),
    "an owner override without an account": replication(destination={"owner_override": True}),
    "delete markers by tag": replication(delete_markers=True, tags={"a": "b"}),
    "KMS objects without a key": replication(kms_objects=True),
    "a key without KMS objects": replication(destination={"kms_key_id": "k"}),
    "time control without metrics": replication(destination={"deadline_minutes": 15}),
}


@pytest.mark.parametrize("setting", REFUSED.values(), ids=REFUSED)
def test_settings_that_s3_refuses_are_refused(setting: BucketSetting) -> None:
    with pytest.raises(InvalidOption):
        setting.check()


def test_empty_tags_and_notifications_need_no_setting() -> None:
    assert Tags({}).matches(None)
    assert not Tags({"a": "b"}).matches(None)
    assert Notifications().matches(None)
    assert not Notifications(eventbridge=True).matches(None)


def test_system_tags_are_ignored() -> None:
    Tags({**{str(number): "" for number in range(50)}, "aws:x": "y"}).check()


def test_options_have_one_place_for_each_setting() -> None:
    settings = [
        Policy(statement()),
        Versioning(),
        Tags({"a": "b"}),
        Lifecycle(rules=(LifecycleRule(id="a", expire_days=1),)),
    ]
    options = BucketOptions.of(settings)

    assert options.versioning == Versioning()
    assert [type(setting).__name__ for setting in options.settings()] == ["Lifecycle", "Versioning", "Tags", "Policy"]


def test_options_can_be_pickled() -> None:
    options = BucketOptions(policy=Policy(statement()), tags=Tags({"a": "b"}))

    assert pickle.loads(pickle.dumps(options)) == options
