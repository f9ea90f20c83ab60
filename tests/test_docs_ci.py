"""The CI files of docs/ keep the schemas of their services, and their comments replace their earlier selves."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pytest_accel.report.markdown import MARKER
from tests.pages import USER_PAGES, Page

GITHUB, GITLAB, BUILDKITE = Page("docs/ci.md"), Page("docs/ci-gitlab.md"), Page("docs/ci-buildkite.md")
CI_PAGES = [page for page in USER_PAGES if page.blocks("yaml")]
#: The schema of each service's files, as check-jsonschema brings it, and what the files are called.
SCHEMAS = {
    "vendor.github-workflows": r"\.github/workflows/[\w-]+\.yml",
    "vendor.gitlab-ci": r"\.gitlab-ci\.yml",
    "vendor.buildkite": r"\.buildkite/pipeline\.yml",
}
FILES = {name: text for page in CI_PAGES for name, text in page.files("yaml").items()}
WORKFLOWS = sorted(name for name in FILES if name.startswith(".github/"))


def test_every_block_is_a_file_of_a_service_and_gates() -> None:
    assert {GITHUB, GITLAB, BUILDKITE} <= set(CI_PAGES)
    for page in CI_PAGES:
        assert len(page.blocks("yaml")) == len(page.files("yaml"))
        assert any("--accel-strict" in script for _, script in page.scripts)
    assert [name for name in FILES if not any(re.fullmatch(pattern, name) for pattern in SCHEMAS.values())] == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_file_keeps_the_schema_of_its_service(tmp_path: Path, schema: str) -> None:
    paths = [tmp_path / name for name in FILES if re.fullmatch(SCHEMAS[schema], name)]
    broken = tmp_path / "broken.yml"
    broken.write_text("jobs: 1\nsteps: 1\nstages: 1\n", encoding="utf-8")
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[path.relative_to(tmp_path).as_posix()], encoding="utf-8")
    assert paths
    assert _check(schema, *paths) == (0, "ok -- validation done\n")
    assert _check(schema, broken)[0] == 1


def _check(schema: str, *paths: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_workflow_names_is_there(name: str) -> None:
    """What one job or step needs of another is that one's to give, and every job has an end."""
    text, workflow = FILES[name], yaml.safe_load(FILES[name])
    assert set(workflow) - {True} <= {"name", "permissions", "concurrency", "jobs", "env"}, "YAML takes 'on' for true"
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        needed = job.get("needs", [])
        assert ({needed} if isinstance(needed, str) else set(needed)) <= workflow["jobs"].keys()
    for needed, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert output in workflow["jobs"][needed]["outputs"]
    for step, output in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text):
        (script,) = [run for _, run in GITHUB.scripts if f'echo "{output}=' in run]
        assert f"id: {step}" in text
        assert "$GITHUB_OUTPUT" in script


# Comments


def script_with(page: Page, words: str) -> str:
    (script,) = [script for _, script in page.scripts if words in script]
    return script


def comment(script: str, folder: Path, text: str, **environ: str) -> None:
    """Run a step in bash as the services do, for a report of this text."""
    (folder / "report.md").write_text(f"{MARKER}\n{text}\n", encoding="utf-8")
    path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_PROXY": "*", **environ}
    command = ["bash", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


#: A stand-in of GitHub's command, for what the step asks of it. Like `gh` it posts unless a method is named, reads a
#: field's value from the file behind an @, and applies the jq filter to the answer.
GH = """
import json, pathlib, subprocess, sys

comments = pathlib.Path("comments.json")
known = json.loads(comments.read_text())
args = sys.argv[1:]
assert args.pop(0) == "api"
options, places = {}, []
while args:
    arg = args.pop(0)
    if arg in ("--paginate", "--silent"):
        options[arg] = True
    elif arg in ("--jq", "--method", "--field"):
        options[arg] = args.pop(0)
    else:
        assert not arg.startswith("-"), arg
        places.append(arg)
(place,) = places
if "--field" not in options:
    assert place == "repos/me/models/issues/7/comments"
    assert "--paginate" in options, "a page has 30 comments"
    sys.exit(subprocess.run(["jq", "--raw-output", options["--jq"]], input=json.dumps(known), text=True).returncode)
name, _, file = options["--field"].partition("=@")
assert name == "body"
body = pathlib.Path(file).read_text()
if options.get("--method", "POST") == "POST":
    assert place == "repos/me/models/issues/7/comments"
    known.append({"id": 100 + len(known), "body": body, "user": {"login": "github-actions[bot]"}})
else:
    assert options["--method"] == "PATCH"
    folder, _, number = place.rpartition("/")
    assert folder == "repos/me/models/issues/comments"
    (found,) = [comment for comment in known if comment["id"] == int(number)]
    found["body"] = body
comments.write_text(json.dumps(known))
"""


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not here: apt-get install jq")
def test_the_comment_on_github_replaces_its_earlier_self(tmp_path: Path) -> None:
    others = [
        {"id": 1, "body": "Looks good.", "user": {"login": "you"}},
        {"id": 2, "body": f"{MARKER}\nIs this it?", "user": {"login": "you"}},
        {"id": 3, "body": f"> {MARKER}", "user": {"login": "github-actions[bot]"}},
    ]
    comments = tmp_path / "comments.json"
    comments.write_text(json.dumps(others), encoding="utf-8")
    (tmp_path / "gh").write_text(f"#!{sys.executable}\n{GH}", encoding="utf-8")
    (tmp_path / "gh").chmod(0o755)
    script = script_with(GITHUB, "gh api")
    for text in ("first", "second", "third"):
        comment(script, tmp_path, text, GITHUB_REPOSITORY="me/models", PULL_REQUEST="7")
        found = json.loads(comments.read_text(encoding="utf-8"))
        assert found[:3] == others
        assert [each["body"] for each in found[3:]] == [f"{MARKER}\n{text}\n"]


class _Notes(http.server.BaseHTTPRequestHandler):
    """A stand-in of GitLab's interface for the notes of a merge request, which wants a token."""

    notes: list[dict[str, Any]]

    def do_GET(self) -> None:
        assert parse_qs(urlsplit(self.path).query) == {"sort": ["asc"], "per_page": ["100"]}
        self._answer(200, self.notes)

    def do_POST(self) -> None:
        self.notes.append({"id": 100 + len(self.notes), "body": self._body()})
        self._answer(201, self.notes[-1])

    def do_PUT(self) -> None:
        (note,) = [note for note in self.notes if self.path.endswith(f"/notes/{note['id']}")]
        note["body"] = self._body()
        self._answer(200, note)

    def _body(self) -> str:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        return parse_qs(sent, strict_parsing=True)["body"][0]

    def _answer(self, status: int, content: object) -> None:
        if self.headers["PRIVATE-TOKEN"] != "secret" or "/api/v4/projects/5/merge_requests/7/notes" not in self.path:
            status, content = 401, {"message": "401 Unauthorized"}
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Say nothing: a test that fails shows what the step saw."""


@pytest.fixture
def gitlab() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Notes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here: apt-get install curl")
def test_the_comment_on_gitlab_replaces_its_earlier_self(tmp_path: Path, gitlab: http.server.HTTPServer) -> None:
    others = [{"id": 1, "body": "Looks good."}, {"id": 2, "body": f"> {MARKER}"}]
    _Notes.notes = [*others]
    script = script_with(GITLAB, "curl")
    environ = {
        "CI_API_V4_URL": f"http://127.0.0.1:{gitlab.server_port}/api/v4",
        "CI_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_IID": "7",
        "COMMENT_TOKEN": "secret",
    }
    for text in ("first", "second & 100 % slower\n\n| a | b |", "x" * 60_000):
        comment(script, tmp_path, text, **environ)
        assert _Notes.notes[:2] == others
        assert [note["body"] for note in _Notes.notes[2:]] == [f"{MARKER}\n{text}\n"]
    with pytest.raises(AssertionError):
        comment(script, tmp_path, "nobody", **{**environ, "COMMENT_TOKEN": "wrong"})


def test_the_annotation_of_buildkite_has_a_context_of_its_own() -> None:
    assert script_with(BUILDKITE, "annotate").endswith("annotate --context pytest-accel < report.md")
