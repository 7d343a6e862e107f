"""A folder of S3, or of a server that speaks its protocol: the objects below one prefix.

S3 has no rename, and needs none: an object appears as a whole, or not at all. Which version of an object was listed is
its ETag, and exactly that version is read.
"""

import ssl
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, BinaryIO

from worker.features.list_sources.calls import CALL_SECONDS, CONNECT_SECONDS, Calls, RemoteFolder
from worker.features.list_sources.place import Copying, Found, Kind, NotTaken
from worker.features.list_sources.remote_lists import extra

_PART = 1 << 18  # bytes of one read
_WRITE_SECONDS = 600.0  # an object is sent by one call
_STAMP = 120  # signs, as the database keeps


class S3Folder(RemoteFolder):
    def remove(self, name: str) -> None:
        """Nothing is ever left over."""

    async def _listed(self, client: Any, now: datetime) -> Found:
        found, bucket, prefix = Found(), self.at.host, self.at.prefix
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

    def _read(self, calls: Calls, name: str, stamp: str, copy: Copying) -> None:
        etag = stamp.split("-", 2)[2]
        answer = calls.do(_got(calls.client, self._named(name) | {"IfMatch": etag}))
        if answer is None:
            raise NotTaken("it still changes", for_good=False)
        copy.expect(answer["ContentLength"])
        body = calls.hold(answer["Body"])
        while part := calls.do(body.read(_PART)):
            copy.add(part)

    def _send(self, calls: Calls, name: str, content: BinaryIO) -> None:
        what = self._named(name) | {"Body": content, "ContentType": "text/csv; charset=utf-8"}
        calls.do(calls.client.put_object(**what), _WRITE_SECONDS)

    def _named(self, name: str) -> dict[str, Any]:
        return {"Bucket": self.at.host, "Key": f"{self.at.prefix}{name}"}

    async def _connected(self, exits: AsyncExitStack) -> Any:
        session, config, folder = extra("aiobotocore.session", "s3"), extra("aiobotocore.config", "s3"), self.folder
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


async def _got(client: Any, what: dict[str, Any]) -> Any:
    """The object; None if it is another version by now."""
    try:
        return await client.get_object(**what)
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
            return None
        raise
