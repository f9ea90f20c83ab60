from __future__ import annotations

import json
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest

from pytest_accel.worker import redaction
from pytest_accel.worker.redaction import keep_secret, known, of_environment, redacted

SECRET = 'wJalr/XUtn+FEMI&K7==MD"ENG é'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="")
        .lower()
        .replace("wjalr", "wJalr")
        .replace("xutn", "XUtn")
        .replace("femi", "FEMI")
        .replace("k7", "K7")
        .replace("md", "MD")
        .replace("eng", "ENG"),
        quote(quote(SECRET, safe=""), safe=""),
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        SECRET.replace("/", "\\/"),
        escape(SECRET, {'"': "&quot;"}),
    ],
)
def test_a_secret_is_found_in_every_spelling(written: str) -> None:
    assert redacted(f"<{written}>", [SECRET]) == "<(redacted)>"


def test_a_space_may_be_a_plus() -> None:
    assert redacted(f"<{quote_plus('two words/')}>", ["two words/"]) == "<(redacted)>"


def test_what_is_known_is_kept_out_of_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())
    keep_secret(["a secret of the worker", "short"])
    assert known() == ["a secret of the worker"]
    assert redacted("a secret of the worker, short") == "(redacted), short"


def test_the_environment_has_secrets_and_places_of_secrets() -> None:
    environ = {
        "AWS_SECRET_ACCESS_KEY": "abcdefgh1",
        "HF_TOKEN": "abcdefgh2",
        "DB_PASSWORD": "abcdefgh3",
        "MY_API_KEY": "abcdefgh4",
        "TOKENIZERS_PARALLELISM": "false",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "PATH": "/usr/bin:/bin",
    }
    assert of_environment(environ) == ["abcdefgh1", "abcdefgh2", "abcdefgh3", "abcdefgh4"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("%3DAKIAIOSFODNN7EXAMPLE%2F", "%3D(redacted)%2F"),
        ("X-Amz-Signature=0a1b&x", "(redacted)&x"),
        ("signature=" + "0a" * 32, "(redacted)"),
        ("'aws_secret_access_key': 'abc/def'", "'(redacted)'"),
        ("Authorization: Bearer abc.def-ghi", "(redacted)"),
        ("hf_abcdefghijklmnopqrstuv", "(redacted)"),
        ("password: hunter2", "(redacted)"),
    ],
)
def test_what_looks_like_a_credential_is_one(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "words",
    [
        "signature='serving_default' has no input 'tokens'",
        "concrete function signature: (x: TensorSpec(shape=(None, 4)))",
        "token 5 = 17, credential-free",
        "node AddKeys/key=7",
    ],
)
def test_the_words_of_a_vendor_stay(words: str) -> None:
    assert redacted(words) == words
