"""Keys: who is let in, and how the file changes under a running server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from gateway.access import new_key
from gateway.access.key_file import KeyEntry, key_digest, read_key_file
from gateway.access.keys import RELOAD_EVERY_S, KeyStore
from gateway.api_errors import Unauthorized
from gateway.settings import AccessSettings, SettingsError

KEY = "wsk-" + "a" * 40
OTHER = "wsk-" + "b" * 40


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump({"keys": list(entries)}))
    return path


def test_a_key_is_its_caller(tmp_path: Path) -> None:
    file = write(
        tmp_path / "keys.yaml",
        {"name": "alice", "sha256": key_digest(KEY), "weight": 2.0, "models": ["whisper"]},
        {"name": "bob", "key": OTHER, "requests_per_minute": 3},
    )
    store = KeyStore(AccessSettings(keys_file=file, requests_per_minute=60, audio_seconds_per_minute=600))
    alice = store.authenticate(f"Bearer {KEY}", "10.0.0.1")
    bob = store.authenticate(f"bearer  {OTHER} ", "10.0.0.2")
    assert (alice.name, alice.weight, alice.models, alice.address) == ("alice", 2.0, ("whisper",), "10.0.0.1")
    assert (alice.requests_per_minute, bob.requests_per_minute) == (60, 3)
    assert bob.audio_seconds_per_minute == 600


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}",
     "Bearer \x00", "Bearer é", "Bearer " + "x" * 100_000, f"Bearer {key_digest(KEY)}"],
)  # fmt: skip
def test_everything_else_is_401(header: str | None, tmp_path: Path) -> None:
    store = KeyStore(AccessSettings(keys_file=write(tmp_path / "k", {"name": "alice", "key": KEY})))
    with pytest.raises(Unauthorized) as refusal:
        store.authenticate(header, "")
    assert refusal.value.status == 401
    assert refusal.value.headers == {"WWW-Authenticate": "Bearer"}
    assert KEY not in str(refusal.value)


def test_without_keys_everybody_is_local() -> None:
    store = KeyStore(AccessSettings())
    assert not store.configured
    caller = store.authenticate("Bearer anything", "127.0.0.1")
    assert (caller.name, caller.address) == ("local", "127.0.0.1")


def test_a_file_without_entries_lets_nobody_in(tmp_path: Path) -> None:
    store = KeyStore(AccessSettings(keys_file=write(tmp_path / "keys.yaml")))
    assert store.configured
    with pytest.raises(Unauthorized):
        store.authenticate(f"Bearer {KEY}", "")


def test_keys_of_the_environment_have_names_that_do_not_tell_them() -> None:
    store = KeyStore(AccessSettings.model_validate({"keys": f"{KEY},{OTHER}"}))
    names = {store.authenticate(f"Bearer {key}", "").name for key in (KEY, OTHER)}
    assert names == {f"key-{key_digest(key)[:8]}" for key in (KEY, OTHER)}


def test_a_changed_file_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    file, clock = write(tmp_path / "keys.yaml", {"name": "alice", "key": KEY}), Clock()
    store = KeyStore(AccessSettings(keys_file=file), clock)
    assert store.authenticate(f"Bearer {KEY}", "").name == "alice"

    replacement = write(tmp_path / "new.yaml", {"name": "bob", "key": OTHER})
    os.replace(replacement, file)
    assert store.authenticate(f"Bearer {KEY}", "").name == "alice"  # not looked at yet
    clock.now += RELOAD_EVERY_S
    assert store.authenticate(f"Bearer {OTHER}", "").name == "bob"
    with pytest.raises(Unauthorized):
        store.authenticate(f"Bearer {KEY}", "")

    for content in ("keys: [", "keys: 3", "other: []"):
        file.write_text(content)
        clock.now += RELOAD_EVERY_S
        assert store.authenticate(f"Bearer {OTHER}", "").name == "bob"
    file.unlink()
    clock.now += RELOAD_EVERY_S
    assert store.authenticate(f"Bearer {OTHER}", "").name == "bob"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("keys:\n- {name: a b, key: 0123456789abcdef}", "keys.0.name is 'a b'"),
        ("keys:\n- {name: a}", "a needs one of key and sha256"),
        ("keys:\n- {name: a, key: short}", "keys.0.key is a secret, must be at least 16 characters"),
        ("keys:\n- {name: a, key: 0123456789abcdef, wieght: 2}", "did you mean weight?"),
        ("keys:\n- {name: a, key: 0123456789abcdef}\n- {name: a, key: 0123456789abcdeg}", "has the name"),
        ("keys:\n- {name: a, key: 0123456789abcdef}\n- {name: b, key: 0123456789abcdef}", "has the key"),
        ("keys: {\n0123456789", "line 2: expected"),
        ("", "the file is empty, must have entries under `keys:`"),
        ("0123456789", "the file is a str, must"),
        ("- name: a\n  key: 0123456789abcdef", "the file is a list, must"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError) as refusal:
        read_key_file(file)
    message = str(refusal.value)
    assert str(file) in message and words in message and "\n" not in message
    assert "0123456789" not in message and "short" not in message


def test_the_command_makes_a_key_that_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_key.main(["new", "carol"]) == 0
    printed = capsys.readouterr().out
    key = printed.split()[1]
    file = tmp_path / "keys.yaml"
    file.write_text("keys:\n" + printed)
    assert key not in file.read_text().split("\n", 2)[2]  # only its digest below the comment
    assert KeyStore(AccessSettings(keys_file=file)).authenticate(f"Bearer {key}", "").name == "carol"


def test_the_command_fills_the_keys_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.yaml"
    keys = {}
    for name in ("carol", "dave"):
        assert new_key.main(["new", name, str(file)]) == 0
        keys[name] = capsys.readouterr().out.split()[0]
    store = KeyStore(AccessSettings(keys_file=file))
    assert {name: store.authenticate(f"Bearer {key}", "").name for name, key in keys.items()} == {
        "carol": "carol",
        "dave": "dave",
    }
    assert not any(key in file.read_text() for key in keys.values())


@pytest.mark.parametrize("before", ["keys:\n- {name: carol, key: 0123456789abcdef}", "keys: []\n"])
def test_the_command_leaves_a_file_that_it_would_break(
    before: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(before)
    assert new_key.main(["new", "carol", str(file)]) == 2
    assert "nothing was added" in capsys.readouterr().err
    assert file.read_text() == before


def test_the_command_refuses_a_name_that_is_no_label(capsys: pytest.CaptureFixture[str]) -> None:
    assert new_key.main(["new", "a\nb"]) == 2
    assert "must be 1 to 64 letters" in capsys.readouterr().err


def test_digests_of_both_spellings_are_equal() -> None:
    upper = KeyEntry(name="a", sha256=key_digest(KEY).upper())
    assert upper.digest == KeyEntry.model_validate({"name": "a", "key": KEY}).digest
