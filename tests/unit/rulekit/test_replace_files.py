"""Files of a rules directory are replaced all or none, whatever goes wrong in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.cli.rules_folder import only_one, replace_files
from antifraud.domain import UsageError


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("existing", [True, False])
def test_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, existing: bool) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths if existing else ():
        path.write_text(f"old {path.name}", encoding="utf-8")
    before = content(tmp_path)
    replace, calls = Path.replace, []

    def replaced(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        replace_files([(path, f"new {path.name}") for path in paths])
    assert content(tmp_path) == before


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("real")
    replace_files([(tmp_path / "link", "new")])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == "new"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        replace_files([(tmp_path / "nowhere" / "a", "new")])
    with pytest.raises(UsageError, match="cannot be opened"), only_one(tmp_path / "nowhere"):
        pass


def test_two_at_once(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(UsageError, match="somebody else is changing"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
