"""Any setting of each kind, as far as S3's documents can hold it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import botocore.session
from hypothesis import strategies as st

from apm_s3.options import (
    AccessLogging,
    BucketSetting,
    Cors,
    CorsRule,
    Encryption,
    Lifecycle,
    LifecycleRule,
    LogGrant,
    NoncurrentTransition,
    Notification,
    Notifications,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Replication,
    ReplicationDestination,
    ReplicationRule,
    Tags,
    Transition,
    Versioning,
)
from tests.seams.s3 import CLASS_ORDER

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)
MAYBE = st.none() | TEXT
PREFIX = st.just("") | TEXT
TAGS = st.dictionaries(TEXT, TEXT, max_size=3)
DAYS = st.integers(1, 4000)
MAYBE_DAYS = st.none() | DAYS
DATES = st.dates(min_value=date(2000, 1, 1)).map(lambda day: datetime(day.year, day.month, day.day, tzinfo=UTC))
EVENTS = st.lists(st.sampled_from(["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]), min_size=1, unique=True).map(tuple)
CLASSES = st.sampled_from(CLASS_ORDER)

# The oldest botocore that is supported does not know these yet.
_SHAPES = botocore.session.get_session().get_service_model("s3").shape_for
BLOCKED_TYPES = "BlockedEncryptionTypes" in _SHAPES("ServerSideEncryptionRule").members
EVENT_HOLD = "DefaultEventHold" in _SHAPES("DefaultRetention").members


def several(of: st.SearchStrategy, least: int = 0) -> st.SearchStrategy:
    return st.lists(of, min_size=least, max_size=3).map(tuple)


TRANSITIONS = st.builds(Transition, storage_class=CLASSES, days=st.integers(0, 4000), date=st.none()) | st.builds(
    Transition, storage_class=CLASSES, days=st.none(), date=DATES
)
LIFECYCLE_RULES = st.builds(
    LifecycleRule,
    id=PREFIX,
    prefix=PREFIX,
    tags=TAGS,
    larger_than=st.none() | st.integers(0, 10**12),
    smaller_than=st.none() | st.integers(1, 10**12),
    enabled=st.booleans(),
    transitions=several(TRANSITIONS),
    expire_days=MAYBE_DAYS,
    expire_date=st.none() | DATES,
    expire_markers=st.booleans(),
    noncurrent_transitions=several(
        st.builds(NoncurrentTransition, storage_class=CLASSES, days=DAYS, keep=st.none() | st.integers(1, 100))
    ),
    noncurrent_days=MAYBE_DAYS,
    noncurrent_keep=st.none() | st.integers(1, 100),
    abort_uploads_days=MAYBE_DAYS,
)


@st.composite
def destinations(draw: st.DrawFn) -> ReplicationDestination:
    metrics = draw(st.booleans())
    return ReplicationDestination(
        bucket="arn:aws:s3:::" + draw(TEXT),
        account=draw(MAYBE),
        storage_class=draw(st.none() | CLASSES),
        owner_override=draw(st.booleans()),
        kms_key_id=draw(MAYBE),
        deadline_minutes=draw(MAYBE_DAYS),
        metrics=metrics,
        threshold_minutes=draw(MAYBE_DAYS) if metrics else None,
    )


REPLICATION_RULES = st.builds(
    ReplicationRule,
    id=PREFIX,
    destination=destinations(),
    priority=st.integers(0, 1000),
    prefix=PREFIX,
    tags=TAGS,
    enabled=st.booleans(),
    delete_markers=st.booleans(),
    kms_objects=st.booleans(),
    replica_modifications=st.booleans(),
    existing_objects=st.booleans(),
)
CORS_RULES = st.builds(
    CorsRule,
    methods=several(st.sampled_from(["GET", "PUT"]), 1),
    origins=several(TEXT, 1),
    headers=several(TEXT),
    expose_headers=several(TEXT),
    max_age=MAYBE_DAYS,
    id=MAYBE,
)
NOTIFICATIONS = st.builds(Notification, arn=TEXT, events=EVENTS, prefix=PREFIX, suffix=PREFIX, id=MAYBE)
GRANTS = st.builds(
    LogGrant,
    permission=st.sampled_from(["FULL_CONTROL", "READ", "WRITE"]),
    type=st.sampled_from(["CanonicalUser", "AmazonCustomerByEmail", "Group"]),
    id=MAYBE,
    email=MAYBE,
    uri=MAYBE,
    display_name=MAYBE,
)

SETTING_STRATEGIES: dict[type[BucketSetting], st.SearchStrategy] = {
    Versioning: st.builds(Versioning, enabled=st.booleans(), mfa_delete=st.booleans()),
    Encryption: st.builds(
        Encryption,
        algorithm=st.sampled_from(["AES256", "aws:kms", "aws:kms:dsse"]),
        kms_key_id=MAYBE,
        bucket_key=st.booleans(),
        blocked_types=st.none() | several(st.sampled_from(["SSE-C", "NONE"])) if BLOCKED_TYPES else st.none(),
    ),
    PublicAccessBlock: st.builds(
        PublicAccessBlock,
        block_public_acls=st.booleans(),
        ignore_public_acls=st.booleans(),
        block_public_policy=st.booleans(),
        restrict_public_buckets=st.booleans(),
    ),
    OwnershipControls: st.builds(
        OwnershipControls,
        object_ownership=st.sampled_from(["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]),
    ),
    Policy: st.dictionaries(TEXT, TEXT, min_size=1).map(lambda one: Policy.of([one])),
    Lifecycle: st.builds(
        Lifecycle,
        rules=several(LIFECYCLE_RULES, 1),
        minimum_size=st.sampled_from(["all_storage_classes_128K", "varies_by_storage_class"]),
    ),
    Replication: st.builds(Replication, role=TEXT, rules=several(REPLICATION_RULES, 1)),
    Tags: st.dictionaries(TEXT.filter(lambda name: not name.startswith("aws:")), TEXT, min_size=1).map(Tags),
    AccessLogging: st.builds(
        AccessLogging,
        target_bucket=TEXT,
        target_prefix=PREFIX,
        partitioned_by=st.sampled_from([None, "EventTime", "DeliveryTime"]),
        grants=several(GRANTS),
    ),
    ObjectLock: st.builds(
        ObjectLock,
        mode=st.none() | st.sampled_from(["GOVERNANCE", "COMPLIANCE"]),
        days=MAYBE_DAYS,
        years=MAYBE_DAYS,
        hold_days=MAYBE_DAYS if EVENT_HOLD else st.none(),
        hold_years=MAYBE_DAYS if EVENT_HOLD else st.none(),
    ),
    Cors: st.builds(Cors, rules=several(CORS_RULES, 1)),
    Notifications: st.builds(
        Notifications,
        topics=several(NOTIFICATIONS, 1),
        queues=several(NOTIFICATIONS),
        functions=several(NOTIFICATIONS),
        eventbridge=st.booleans(),
    ),
}
