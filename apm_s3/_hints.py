"""What to do about errors, in the words of each reader: a program, the command line, and clients of the HTTP API.

An error carries a `Hint`, which is its text for programs and knows the other wordings. A hint that names nothing of
Python is the same for everybody, and is a plain string where the error is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Words = str | Callable[..., str]
"""A template of `str.format`, or a function of the hint's values."""


class Kind:
    """A kind of hint.

    Args:
        library: its words for programs.
        command: those of the command line.
        http: those of the HTTP API.
    """

    def __init__(self, library: Words, command: Words, http: Words = "ask the operators of this service") -> None:
        self.words = library, command, http
        self.name = ""

    def __set_name__(self, _: type, name: str) -> None:
        """Remember the name in `Advice`."""
        self.name = name

    def __call__(self, **values: Any) -> Hint:
        """Return the hint, with what it names."""
        return Hint(self, values)


class Hint(str):
    """A hint in the words of the library, which knows the others.

    Attributes:
        kind: which hint it is.
        values: what it names.
    """

    kind: Kind
    values: Mapping[str, Any]

    def __new__(cls, kind: Kind, values: Mapping[str, Any]) -> Hint:
        """Word it for programs."""
        hint = super().__new__(cls, _word(kind.words[0], values))
        hint.kind, hint.values = kind, values
        return hint

    @property
    def command(self) -> str:
        """Return it in the words of the command line."""
        return _word(self.kind.words[1], self.values)

    @property
    def http(self) -> str:
        """Return it in the words of the HTTP API."""
        return _word(self.kind.words[2], self.values)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name and the values: the words may be functions."""
        return _restore, (self.kind.name, self.values)


def _word(words: Words, values: Mapping[str, Any]) -> str:
    return words.format(**values) if isinstance(words, str) else words(**values)


def _restore(name: str, values: Mapping[str, Any]) -> Hint:
    kind: Kind = getattr(Advice, name)
    return kind(**values)


def for_command(hint: str | None) -> str:
    """Return a hint in the words of the command line."""
    return hint.command if isinstance(hint, Hint) else hint or ""


def for_http(hint: str | None) -> str | None:
    """Return a hint in the words of the HTTP API."""
    return hint.http if isinstance(hint, Hint) else hint


def _choices(environment: str, choice: Mapping[str, object]) -> str:
    chosen = "".join(f" --choose {tool}={what}" for tool, what in choice.items())
    return f"choose the release to go on from: apm-s3 config repair -e {environment}{chosen}"


_CREDENTIALS = "check the credentials: --profile, AWS_PROFILE, AWS_ACCESS_KEY_ID; see --debug"
_ENCODED = "its user name and password must be ASCII and percent-encoded"
_TWO_WRITERS = "two writers could overwrite each other"
_UNSAFE = "open the store with require_conditional_writes=False"
_TIME = "check the network and --endpoint-url, and try again"
_EXISTING = "see what exists: apm-s3 config ls, apm-s3 config history TOOL"
_OUTCOME = "find out before you try again: apm-s3 config outcome {write_id}"
_PLAN = "make a plan: apm-s3 config plan SOURCE TARGET --out FILE"
_RESOLVE = "resolve the reasons, then make a new plan: apm-s3 config plan SOURCE TARGET --out FILE"
_THAW_NAMED = "thaw it (apm-s3 config thaw -e {environment}), or ask whoever froze it"
_BRING_BACK = "bring it back: apm-s3 config thaw -e {environment}; then roll its tools back"
_THAW = "thaw it (apm-s3 config thaw), or ask whoever froze it"
_OTHER_BACKUP = "use another backup: apm-s3 config backups"


def _fields(setting: object) -> str:
    """Return the fields of a bucket's setting, without the name of its class."""
    return setting if isinstance(setting, str) else repr(setting).partition("(")[2].removesuffix(")")


def _setting_differs(expected: object, found: object, bucket: str) -> str:
    # Not `ensure` for others: a plan shows the policy that comes with it, and what to know before.
    versioning = type(expected).__name__ == "Versioning"
    command = f"ensure {bucket} --versioning" if versioning else f"plan {bucket} --purpose configs"
    return (
        f"expected {_fields(expected)}, found {_fields(found)}: {'' if versioning else 'see '}apm-s3 bucket {command}"
    )


class Advice:
    """Every hint whose words depend on the reader: those of the library, of the command line, and of the HTTP API.

    Clients of the HTTP API can do nothing about those without the last ones.
    """

    # Defaults of kinds of errors
    BACKUP_INVALID = Kind("use another backup; see list_backups", _OTHER_BACKUP, "use another backup")
    BATCH = Kind("see 'failures' for what failed and why", "repeat the command: what succeeded is not done again")
    BUCKET_OWNED = Kind(
        "use ensure_bucket: you already own the bucket", "use apm-s3 bucket ensure: you already own the bucket"
    )
    BUCKET_NOT_EMPTY = Kind(
        "delete_bucket(name, force=True) empties it first", "apm-s3 bucket rm --force empties it first"
    )
    BUCKET_NOT_FOUND = Kind(
        "create it with create_bucket or create_apm_bucket, or check its name and region",
        "see apm-s3 bucket ls, or create it: apm-s3 bucket create NAME",
    )
    COMMIT_UNKNOWN = Kind(
        "call outcome(write_id) before you try again",
        _OUTCOME,
        "ask for the outcome of the write id before you try again",
    )
    CONDITIONAL_WRITES = Kind(
        "use a server that honours If-Match, or accept lost updates with require_conditional_writes=False",
        "use a server that honours If-Match: no commit is safe without it",
    )
    CONFIG_INVALID = Kind(
        "correct the errors in 'report', and upload it again",
        "correct the errors, and try again",
        "correct the errors in 'issues', and upload it again",
    )
    CONFIG_NOT_FOUND = Kind("see list() and history() for what exists", _EXISTING, "check the names and the revision")
    CONNECT = Kind("check endpoint_url, the network, proxies and certificates", "check the network and --endpoint-url")
    CREDENTIALS = Kind("check the access key id and its secret", _CREDENTIALS)
    DEADLINE = Kind("raise the deadline (S3Settings.timeouts.deadline), or lower the load", _TIME)
    DEPLOY_REFUSED = Kind(
        "resolve 'reasons', then make a new plan", _RESOLVE, "resolve 'reasons', then make a new plan"
    )
    FORMAT_TOO_NEW = Kind("upgrade apm_s3", "upgrade: python -m pip install --upgrade apm-s3")
    FROZEN = Kind("thaw it, or wait until the person who froze it does", _THAW, "wait until whoever froze it thaws it")
    KEY_NOT_FOUND = Kind(
        "check the key (and the version id); list_files shows the existing keys",
        "see which keys exist: apm-s3 object ls s3://BUCKET/PREFIX",
    )
    KMS_THROTTLED = Kind(
        "turn on S3 Bucket Keys (Encryption(bucket_key=True)), raise the KMS request quota, or lower max_concurrency",
        "turn on S3 Bucket Keys, raise the KMS request quota, or lower --concurrency",
    )
    LOSSES = Kind(
        "choose another target, or give up by name what it cannot keep: accept=(...)",
        "choose another target, or give up by name what it cannot keep: --accept NAME",
    )
    NOT_CONFIGURED = Kind("set it with set_setting, or treat it as absent", "the bucket does not have this setting")
    OBJECT_ARCHIVED = Kind(
        "restore it with restore_archived(bucket, key, days=...), wait, and read it again",
        "restore it from the archive first (aws s3api restore-object), and wait",
    )
    PLAN_OUTDATED = Kind(
        "make a new plan, and get it approved",
        "make a new plan, and have it reviewed: apm-s3 config plan SOURCE TARGET --out FILE",
        "make a new plan, and get it approved",
    )
    REVISION_CONFLICT = Kind(
        "read the current revision and apply the change to it; for a deploy, make a new plan",
        "get the current revision (apm-s3 config pull), and apply your change to it",
        "read the current revision and apply the change to it; for a deploy, make a new plan",
    )
    STORE_DAMAGED = Kind(
        "run fsck to see what is wrong, then repair", "see what is wrong: apm-s3 config fsck; then apm-s3 config repair"
    )
    THROTTLED = Kind(
        "lower max_concurrency, or spread keys over more prefixes", "try again later, or lower --concurrency"
    )
    TIMED_OUT = Kind("repeat the call, or raise S3Settings.timeouts.read if the server is slow", _TIME)
    TOO_LARGE = Kind(
        "send less, or raise the limit if it is one of this library's settings", "use something smaller", "send less"
    )
    UNAVAILABLE = Kind(
        "repeat the call later, and check the server's health", "try again later: apm-s3 health says how the bucket is"
    )
    WRONG_REGION = Kind("name the bucket's region", "name the bucket's region: --region")
    # Connections and credentials
    CHECK_CERTIFICATES = Kind("check verify, client_cert and AWS_CA_BUNDLE", "check AWS_CA_BUNDLE")
    CHECK_ENDPOINT = Kind(
        "check that endpoint_url names an S3 server{more}", "check that --endpoint-url names an S3 server{more}"
    )
    CHECK_PROXY = Kind(
        "read it with read_file, and look for a proxy that modifies responses",
        "look for a proxy that modifies responses",
    )
    DENIED = Kind(
        "{allowed} (that of create_apm_bucket denies {denied}){listing}",
        "{allowed} (that of --purpose denies {denied}){listing}",
    )
    FOREIGN_REDIRECT = Kind(
        "it redirects to something other than an S3 region, so it was not followed: check endpoint_url and region",
        "it redirects to something other than an S3 region, so it was not followed: check --endpoint-url and --region",
    )
    GIVE_CREDENTIALS = Kind(
        "pass credentials=Credentials(...), or configure the AWS chain (environment, profile, role)", _CREDENTIALS
    )
    POOL = Kind(
        "raise the deadline or S3Settings.max_concurrency, or lower the load: other calls held all slots", _TIME
    )
    PROXY_URL = Kind(
        f"correct it in S3Settings.proxies, or in the environment (HTTPS_PROXY, HTTP_PROXY); {_ENCODED}",
        f"correct it in the environment (HTTPS_PROXY, HTTP_PROXY); {_ENCODED}",
    )
    SECURE_TOKEN = Kind(
        "use an https:// endpoint, or S3Settings(token_over_http=True) on a network that you trust",
        "use an https:// endpoint, or set APM_S3_TOKEN_OVER_HTTP=1 on a network that you trust",
    )

    # Messages of health checks
    BUCKET_ABSENT = Kind(
        "there is no such bucket: create it, or check its name and the endpoint",
        "there is no such bucket: apm-s3 bucket create {bucket}, or check its name and the endpoint",
    )
    CHECK_FAILED = Kind("{error}", lambda error: error.worded(None, for_command(error.hint)))
    NO_CREDENTIALS = Kind(
        "no credentials were found: give S3Manager(credentials=...), or configure AWS's credential chain",
        f"no credentials were found: {_CREDENTIALS}",
    )
    NO_ENCRYPTION = Kind(
        "the bucket has no default encryption: set Encryption()",
        "the bucket has no default encryption: see apm-s3 bucket plan {bucket} --purpose configs",
    )
    SETTING_DIFFERS = Kind(
        "expected {expected}, found {found}: use set_setting, or another `expected`", _setting_differs
    )
    SETTING_FOUND = Kind("{setting}", _fields)

    # Buckets and objects
    CHOOSE_IF_EXISTS = Kind(
        "delete it, or migrate with if_exists='overwrite'", "delete it, or use --if-exists overwrite"
    )
    ACCEPT_LOSSES = Kind(
        "choose another target, or accept the loss by name: accept={names}",
        lambda names: "choose another target, or accept the loss by name: " + " ".join(f"--accept {x}" for x in names),
    )
    CREATE_TARGET = Kind(
        "pass create_target=True to create it with the source's protections",
        "use --create-target to create it with the source's protections",
    )
    DELETE_ALL = Kind(
        "check the source; to delete everything, use delete_prefix or remove the directory",
        "check the source; to delete everything, use apm-s3 object rm --recursive, or remove the directory",
    )
    EMPTY_BUCKET = Kind(
        "pass a prefix; delete_bucket(bucket, force=True) empties a bucket, including old versions",
        "name a prefix; apm-s3 bucket rm --force empties a bucket, including old versions",
    )
    ENSURE_BUCKET = Kind(
        "use ensure_bucket to apply options to an existing bucket",
        "use apm-s3 bucket ensure: you already own the bucket",
    )
    KEEP_ROLE = Kind(
        "pass that role, or remove_setting(bucket, Replication) first",
        "use that role, or remove the bucket's replication first",
    )
    LONGER_OPERATIONS = Kind("raise operation_timeout, or lower concurrency", "lower --concurrency")
    NO_REGULAR_FILE = Kind("read the object with read_file, and write it there", "print it: apm-s3 object cat")
    SKIP_UNSUPPORTED = Kind(
        "pass unsupported='warn' to continue without, or choose other options",
        "add --skip-unsupported, or choose other options",
    )
    TURN_ON_VERSIONING = Kind(
        "set_setting('{bucket}', Versioning()) turns it on", "turn it on: apm-s3 bucket ensure {bucket} --versioning"
    )
    USE_VERSIONING = Kind("use Versioning()", "add --versioning")
    # Configurations
    ADD_NOTE = Kind(
        lambda names: "nothing was changed; pass " + ", ".join(f"{name}=" for name in names),
        lambda names: "nothing was changed; pass " + ", ".join(f"--{name}" for name in names),
        lambda names: "nothing was changed; send " + ", ".join(names),
    )
    ALLOW_DRIFT = Kind(
        "nothing was changed; allow_drift=True overwrites changes made by hand",
        "nothing was changed; --allow-drift overwrites changes made by hand",
        "nothing was changed; allow_drift overwrites changes made by hand",
    )
    BACKUP_KEYS = Kind(
        "use a key from list_backups",
        "use a key that apm-s3 config backups lists",
        "use a key from the list of backups",
    )
    BACKUPS = Kind(
        "see list_backups for the existing ones", "see the existing ones: apm-s3 config backups", "see the list"
    )
    BACKUP_MADE = Kind(
        "it is not known whether the backup was completed; if it was, list_backups shows '{key}'",
        "it is not known whether the backup was completed; if it was, apm-s3 config backups shows '{key}'",
        "it is not known whether the backup was completed; if it was, it is in the list",
    )
    BACKUP_UNCOMPARED = Kind(
        "it could not be compared with what was sent; list_backups shows whether the backup was completed",
        "it could not be compared with what was sent; apm-s3 config backups shows whether the backup was completed",
        "it could not be compared with what was sent; the list shows whether the backup was completed",
    )
    CHOOSE_RELEASE = Kind("choose the release to go on from: repair({environment!r}, choose={choice})", _choices)
    CHOOSE_OTHER_REVISION = Kind(
        "choose another one (history() marks damaged ones), or look for it in list_backups()",
        "choose another one (apm-s3 config history marks damaged ones), or look for it in apm-s3 config backups",
        "choose another one",
    )
    CORRECT_OR_FORCE = Kind(
        "nothing was stored; correct it, or pass a reason as force=",
        "nothing was stored; correct it, or use --force REASON",
        "nothing was stored; correct it, or send a reason as 'force'",
    )
    CORRECT_SOURCE_OR_FORCE = Kind(
        "nothing was imported; correct it at its source, or pass a reason as force=",
        "nothing was imported; correct it at its source, or use --force REASON",
        "nothing was imported; correct it at its source",
    )
    CREATE_ENVIRONMENT = Kind(
        "{near} create=True creates a new one",
        "{near} --create allows a new one",
        "{near} create=true creates a new one",
    )
    CREATE_TARGET_ENVIRONMENT = Kind(
        "check its name, the bucket and the prefix; create=True allows an environment that does not exist yet",
        "check its name, the bucket and the prefix; --create allows an environment that does not exist yet",
        "check its name; create allows an environment that does not exist yet",
    )
    EXTERNAL_TOOLS = Kind(
        "nothing was stored; use the command line or the library, or the service's external_tools=True",
        "nothing was stored",
        "nothing was stored; use the command line or the library, or ask the operators of this service to offer them",
    )
    HIDDEN_FILES = Kind(
        "files whose names begin with a dot or match exclude= do not count",
        "files whose names begin with a dot, and copies of editors, do not count",
        "files whose names begin with a dot do not count",
    )
    KEEP_REVISIONS = Kind(
        "pass it, or set it for the environment",
        "pass --keep-revisions, or set it for the environment",
        "send it, or set it for the environment",
    )
    LIST = Kind("see list() for what exists", _EXISTING, "check the names")
    MORE_TIME = Kind("make the call again, or give it more time with timeout=", _TIME, "make the request again")
    NEW_WRITE_ID = Kind(
        "nothing was changed; use each write id for one write: create a new one with new_write_id",
        "nothing was changed; leave out --write-id: it is for repeating that same write",
        "nothing was changed; use each write id for one write",
    )
    NO_CHANGE_YET = Kind(
        "call outcome({write_id!r}) before you repeat the change",
        _OUTCOME,
        "ask for the outcome of the write id before you repeat the change",
    )
    OPEN_REPLICA = Kind(
        "write there; or, if that bucket is permanently lost, open this store with failover=True",
        "write there; or, if that bucket is permanently lost, see the page on regions in the documentation",
    )
    PASS_PLAN = Kind("pass the result of to_dict", _PLAN, "send a plan as the API returned it")
    PASS_VARIABLES = Kind(
        "pass the same ones as variables=", "pass the same ones: --var NAME=VALUE", "send the same ones"
    )
    REMOVE_ALL = Kind(
        "use remove({tool!r}, {environment!r}) to remove all files",
        "use apm-s3 config rm {tool} -e {environment} to remove all files",
        "delete the tool's configuration to remove all files",
    )
    REMOVE_TOOL_FIRST = Kind(
        "remove it first: remove({tool!r}, {environment!r})",
        "remove it first: apm-s3 config rm {tool} -e {environment}",
        "remove it first",
    )
    RENAME_STORED = Kind(
        "download_bundle returns both; upload the bundle with one of them renamed",
        "print each with apm-s3 config show; upload the bundle with one of them renamed",
        "upload the bundle with one of them renamed",
    )
    REPLACE_DIRECTORY = Kind(
        "use a new path, a symbolic link (which is replaced), or replace=True to delete it",
        "use a new path, a symbolic link (which is replaced), or --replace to delete it",
    )
    RESOLVE_REASONS = Kind(
        "nothing was changed; resolve the reasons, and make a new plan",
        f"nothing was changed; {_RESOLVE}",
        "nothing was changed; resolve the reasons, and make a new plan",
    )
    RESTORE_ALL = Kind(
        "name the tool, or restore all of them with restore_environment", "name the tool", "name the tool"
    )
    REVISIONS = Kind(
        "see history() for the existing revisions",
        "see the existing revisions: apm-s3 config history TOOL",
        "see the history for the existing revisions",
    )
    SAME_STORE = Kind(
        "call it on the store that the plan was made with, with the same target= or source=",
        "use the --bucket and --prefix that the plan was made with",
        "make a new plan here",
    )
    SINGLE_WRITER = Kind(
        f"{_TWO_WRITERS}; use another endpoint or, with a single writer, {_UNSAFE}",
        f"{_TWO_WRITERS}; use a server that honours If-Match",
    )
    SOURCE_OF_IMPORT = Kind(
        "pass a directory, or a store for a prefix in S3", "pass a directory, or s3://BUCKET/PREFIX"
    )
    THAW = Kind(
        "nothing was changed; thaw it first, or wait", _THAW_NAMED, "nothing was changed; wait until it is thawed"
    )
    THAW_REMOVED = Kind(
        "nothing was changed; thaw brings it back", _BRING_BACK, "nothing was changed; a thaw brings it back"
    )
    UPGRADE = Kind(
        "upgrade: apm_s3 {version} or later reads it",
        "upgrade: python -m pip install --upgrade apm-s3; {version} or later reads it",
    )
    WRITE_ID_FORM = Kind(
        "create one with new_write_id({environment!r}): the environment, a dot and 20 hexadecimal digits",
        "it is the environment, a dot and 20 hexadecimal digits",
        "it is the environment, a dot and 20 hexadecimal digits",
    )
    WRITE_ID_PLACE = Kind(
        "take it from CommitUnknown.write_id or Release.write_id",
        "take it from the hint of the command whose outcome is unknown",
        "take it from 'write_id' of the problem or the release",
    )
