"""The process that deletes what was deployed for a test, however the test ends.

``python -c SOURCE JOURNAL`` returns at once and leaves a process that waits until no lock on the journal is held. The
kernel frees a lock even where a worker is killed. Then the process deletes what the journal names, and the journal.
Workers are always ended by SIGKILL, so a worker cannot delete anything at the end. SOURCE is the text of this file,
because a worker may have got the package over the wire. It imports only the standard library and boto3.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from typing import Any, Dict

#: _FIRST_PAUSE_S is the number of seconds of the first pause between two attempts; later pauses are twice as long as
#: the one before.
_FIRST_PAUSE_S = 0.1
#: _LONGEST_PAUSE_S is the number of seconds of the longest pause. It takes minutes to delete an endpoint.
_LONGEST_PAUSE_S = 30.0
#: _PATIENCE_S is the number of seconds after which deleting is given up.
_PATIENCE_S = 3600.0
#: BEING_DELETED stands for a deletion that is under way, which is no problem.
BEING_DELETED = "being deleted"


def delete_when_unused(path: str) -> None:
    """Wait for the last user of a deployment and delete it. A journal that stays holds the last problem.

    Deleting is asked for again and again, because an endpoint that is being created refuses it. botocore's waiter
    ``endpoint_deleted`` would only look, and needs a right to look that whoever deletes may not have.
    """
    with open(path, "r+", encoding="utf-8") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
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


def delete(created: Dict[str, str]) -> str:
    """Delete what a journal names as far as possible. Returns why something is left, empty when nothing is.

    ``created`` has the ``name`` that endpoint, configuration and model share, ``region``, ``bucket`` and ``key``.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    name = created["name"]
    try:
        sagemaker = boto3.client("sagemaker", region_name=created["region"])
        if _delete(sagemaker.delete_endpoint, EndpointName=name):  # its configuration has to stay until it is gone
            return BEING_DELETED
        _delete(sagemaker.delete_endpoint_config, EndpointConfigName=name)
        _delete(sagemaker.delete_model, ModelName=name)
        boto3.client("s3", region_name=created["region"]).delete_object(Bucket=created["bucket"], Key=created["key"])
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        # Its words may quote the request, which is signed. What is still being created cannot be deleted yet.
        return BEING_DELETED if code == "ValidationException" else f"{code} on {error.operation_name}"
    except BotoCoreError as error:
        return type(error).__name__
    return ""


def _delete(operation: Any, **name: str) -> bool:
    """Delete by name. Returns whether there was something to delete."""
    from botocore.exceptions import ClientError

    try:
        operation(**name)
    except ClientError as error:
        if "could not find" in str(error).lower():
            return False
        raise
    return True


if __name__ == "__main__" and os.fork() == 0:
    delete_when_unused(sys.argv[1])
