"""What the kubelet makes of a Secret or ConfigMap: links into ..data, which is a link to a folder that is replaced."""

import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder, self.generation = folder, 0
        self.write(files)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Swap all files at once, and remove what was there before."""
        before = (self.folder / "..data").resolve()
        self.generation += 1
        fresh = self.folder / f"..{self.generation}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if before.name != "..data":
            shutil.rmtree(before)
