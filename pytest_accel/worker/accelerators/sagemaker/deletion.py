"""The process that deletes what was deployed for a test, however the test ends.

``python -c SOURCE JOURNAL`` returns at once and leaves a process that waits until no lock on the journal is held. The
kernel frees a lock even where a worker is killed. Then the process deletes what the journal names, and the journal.
Workers are always ended by SIGKILL, so a worker cannot delete anything at the end. SOURCE is the text of this file,
because a worker may have got the package over the wire. It imports only the standard library and boto3.

While it waits, the process renews the lease of what it will delete: a tag that says until when somebody lives who
deletes it. `leftovers` deletes what has a lease that is over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
from typing import Any, Dict, List

#: _FIRST_PAUSE_S is the number of seconds of the first pause between two attempts; later pauses are twice as long as
#: the one before.
_FIRST_PAUSE_S = 0.1
#: _LONGEST_PAUSE_S is the number of seconds of the longest pause. It takes minutes until an endpoint is created.
_LONGEST_PAUSE_S = 15.0
#: _PATIENCE_S is the number of seconds after which deleting is given up.
_PATIENCE_S = 3600.0
#: IN_PROGRESS is why an endpoint cannot be deleted yet, which is no problem.
IN_PROGRESS = "it is still being created"
#: CREATED_BY is the tag of everything that was deployed for a test.
CREATED_BY = {"Key": "created-by", "Value": "pytest-accel"}
#: EXPIRES is the key of the tag that says until when the lease lasts.
EXPIRES = "pytest-accel-expires"
#: EXPIRY_FORMAT is how that tag writes a time, in UTC.
EXPIRY_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
#: LEASE_S is the number of seconds of a lease. AWS takes requests of clocks that are up to 5 minutes wrong, so two
#: machines may differ by 10 minutes, and renewing may fail once or twice.
LEASE_S = 900.0
#: _RENEWED_EVERY_S is the number of seconds after which a lease is renewed.
_RENEWED_EVERY_S = 120.0


def lease() -> List[Dict[str, str]]:
    """Return the tags of what is deployed: who made it, and until when it is in use unless that is renewed."""
    until = time.strftime(EXPIRY_FORMAT, time.gmtime(time.time() + LEASE_S))
    return [CREATED_BY, {"Key": EXPIRES, "Value": until}]


def delete_when_unused(path: str) -> None:
    """Wait for the last user of a deployment and delete it. A journal that stays holds the last problem.

    Deleting is asked for again and again, because an endpoint that is being created refuses it. botocore's waiter
    ``endpoint_deleted`` would only look, and needs a right to look that whoever deletes may not have.
    """
    with open(path, "r+", encoding="utf-8") as journal:
        unused = threading.Event()
        threading.Thread(target=keep_lease, args=(path, unused), daemon=True).start()
        fcntl.flock(journal, fcntl.LOCK_EX)
        unused.set()
        if not os.path.exists(path) or not os.path.samestat(os.fstat(journal.fileno()), os.stat(path)):
            return  # another process was waiting too, and has done it
        created = json.loads(journal.readline() or "{}")
        journal.seek(0, os.SEEK_END)
        waited_s, pause_s, last_problem = 0.0, _FIRST_PAUSE_S, ""
        while created and (problem := delete(created)):
            if problem != last_problem:
                journal.write(json.dumps({"problem": problem}) + "\n")
                journal.flush()
            if waited_s > _PATIENCE_S:
                return
            time.sleep(pause_s)
            waited_s, pause_s, last_problem = waited_s + pause_s, min(2 * pause_s, _LONGEST_PAUSE_S), problem
        os.remove(path)


def keep_lease(path: str, unused: threading.Event) -> None:
    """Renew the lease of what a journal names, until it is unused."""
    while not unused.wait(_RENEWED_EVERY_S):
        with open(path, encoding="utf-8") as journal:
            lines = [json.loads(line) for line in journal]
        renew([line["arn"] for line in lines if "arn" in line], lines[0]["region"] if lines else "")


def renew(arns: List[str], region: str) -> None:
    """Have the lease of these things begin anew. What cannot be renewed now is tried again before the lease is over."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    with contextlib.suppress(BotoCoreError, ClientError):
        for arn in arns:
            boto3.client("sagemaker", region_name=region).add_tags(ResourceArn=arn, Tags=lease())


def delete(created: Dict[str, str]) -> str:
    """Delete what a journal names as far as possible. Returns why something is left, empty when nothing is.

    ``created`` has the ``name`` that endpoint, configuration and model share, ``region``, ``bucket`` and ``key``. An
    empty ``bucket`` stands for a file that nobody knows. A configuration has to stay until its endpoint is in service
    or goes; the model stays to the end, because it alone tells where its file is.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    name = created["name"]
    try:
        sagemaker = boto3.client("sagemaker", region_name=created["region"])
        if not _delete_endpoint(sagemaker, name):
            return IN_PROGRESS
        _delete(sagemaker.delete_endpoint_config, EndpointConfigName=name)
        if created["bucket"]:
            s3 = boto3.client("s3", region_name=created["region"])
            s3.delete_object(Bucket=created["bucket"], Key=created["key"])
        _delete(sagemaker.delete_model, ModelName=name)
    except ClientError as error:
        # Its words may quote the request, which is signed.
        return f"{error.response.get('Error', {}).get('Code')} on {error.operation_name}"
    except BotoCoreError as error:
        return type(error).__name__
    return ""


def _delete_endpoint(sagemaker: Any, name: str) -> bool:
    """Delete an endpoint. Returns whether the service has accepted that, or has no such endpoint.

    It refuses to while the endpoint is created, and also once it is being deleted.
    """
    from botocore.exceptions import ClientError

    try:
        _delete(sagemaker.delete_endpoint, EndpointName=name)
    except ClientError as error:
        if "in-progress endpoint" not in str(error):
            raise
        return bool(sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Deleting")
    return True


def _delete(operation: Any, **name: str) -> None:
    """Delete by name, where there is something of that name."""
    from botocore.exceptions import ClientError

    try:
        operation(**name)
    except ClientError as error:
        if "could not find" not in str(error).lower():
            raise


if __name__ == "__main__" and os.fork() == 0:
    delete_when_unused(sys.argv[1])
