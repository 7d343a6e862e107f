"""A folder of S3, or of a server that speaks its protocol: the objects below one prefix.

S3 has no rename, and needs none: an object appears as a whole, or not at all. Which version of an object was listed is
its ETag, and exactly that version is read.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from worker.features.list_sources.calls import CALL_SECONDS, CONNECT_SECONDS, LISTING_SECONDS, Calls, fetched
from worker.features.list_sources.place import Away, Copy, Copying, Found, Kind, NotTaken, Write, prepared
from worker.features.list_sources.remote_lists import extra
from worker.features.list_sources.settings import Intake, Remote
from worker.lists.sources import CannotFetch

_PART = 1 << 18  # bytes of one read
_WRITE_SECONDS = 600.0  # an object is sent by one call
_STAMP = 120  # signs, as the database keeps


@dataclass(frozen=True)
class S3Folder:
    folder: Intake
    at: Remote

    def found(self, *, now: datetime) -> Found:
        try:
            with self._calls() as calls:
                return calls.do(_listed(calls.client, self.at.host, self.at.prefix), LISTING_SECONDS)
        except CannotFetch as error:
            raise Away(str(error)) from None

    def copied(self, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> AbstractContextManager[Copy]:
        return fetched(partial(self._read, name, stamp), largest=largest, step=step)

    def _read(self, name: str, stamp: str, copy: Copying) -> None:
        with self._calls() as calls:
            answer = calls.do(_got(calls.client, self._named(name) | {"IfMatch": _etag_of(stamp)}))
            if answer is None:
                raise NotTaken("it still changes", for_good=False)
            copy.expect(answer["ContentLength"])
            body = calls.hold(answer["Body"])
            while part := calls.do(body.read(_PART)):
                copy.add(part)

    def write(self, name: str, write: Write) -> None:
        with prepared(write) as content:
            try:
                with self._calls() as calls:
                    what = self._named(name) | {"Body": content, "ContentType": "text/csv; charset=utf-8"}
                    calls.do(calls.client.put_object(**what), _WRITE_SECONDS)
            except CannotFetch as error:
                raise NotTaken(f"{name} cannot be written: {error}", for_good=False) from None

    def remove(self, name: str) -> None:
        """Nothing is ever left over."""

    def _named(self, name: str) -> dict[str, Any]:
        return {"Bucket": self.at.host, "Key": f"{self.at.prefix}{name}"}

    @contextmanager
    def _calls(self) -> Iterator[Calls]:
        session, config = extra("aiobotocore.session", "s3"), extra("aiobotocore.config", "s3")
        try:
            with Calls(lambda exits: self._connected(session, config, exits)) as calls:
                yield calls
        except CannotFetch:
            for secret in (self.folder.access_key, self.folder.secret_key):
                if secret is not None:  # its file may have been replaced: the next look has the new one
                    secret.reload()
            raise

    async def _connected(self, session: Any, config: Any, exits: AsyncExitStack) -> Any:
        folder = self.folder
        options = config.AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=CALL_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=1,
            # Only the configuration names the server: AWS's own could name one without TLS, and a proxy is one too.
            ignore_configured_endpoint_urls=True,
            proxies={},
            # Servers that are not AWS's know no newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if folder.endpoint else {},
        )
        given: dict[str, Any] = {}
        if folder.access_key is not None and folder.secret_key is not None:
            given = {
                "aws_access_key_id": folder.access_key.reveal(),
                "aws_secret_access_key": folder.secret_key.reveal(),
            }
        client = session.get_session().create_client(
            "s3",
            endpoint_url=folder.endpoint,
            # Always named: a variable of AWS's could name another file, or none.
            verify=str(ssl.get_default_verify_paths().cafile or True),
            config=options,
            **given,
        )
        return await exits.enter_async_context(client)


async def _listed(client: Any, bucket: str, prefix: str) -> Found:
    found = Found()
    more: dict[str, Any] = {}
    while not found.is_full:
        page = await client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=1000, **more)
        for one in page.get("Contents", []):
            name = one["Key"].removeprefix(prefix)
            if name and found.wants(name):
                found.add(
                    name, Kind.FILE, f"{one['Size']}-{one['LastModified'].timestamp():.3f}-{one['ETag']}"[:_STAMP]
                )
            if found.is_full:
                break
        if not page.get("IsTruncated"):
            break
        more = {"ContinuationToken": page["NextContinuationToken"]}
    return found


def _etag_of(stamp: str) -> str:
    return stamp.split("-", 2)[2]


async def _got(client: Any, what: dict[str, Any]) -> Any:
    """The object; None if it is another version by now."""
    try:
        return await client.get_object(**what)
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
            return None
        raise
