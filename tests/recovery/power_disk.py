"""A disk that remembers the order of all that was done to it, and says what a power cut at any moment may leave.

What was synced is there. Of what was done to a file since its last sync, each
sector may hold any of the versions that it had; of what was done to a folder,
each name may be as before or after. That covers writes that were dropped, torn
or carried out in another order.
"""

from __future__ import annotations

import bisect
import os

SECTOR = 512
ROOT = 0
MODES = ("none", "all", "prefix", "some", "torn", "torn")


class Disk:
    """The record of a folder: events about inodes, in one order.

    An event is ``("write", inode, offset, bytes)``, ``("truncate", inode, size)``,
    ``("entry", folder, {name: inode or None})`` or ``("sync", inode)``.
    """

    def __init__(self, root):
        self.root = os.path.realpath(root)
        self.events = []
        self.deaf = lambda path: False
        """Whether the disk forgets to sync a path, to try those who check it."""
        self.folders = {ROOT}
        self._inodes = {self.root: ROOT}
        self._paths = {ROOT: self.root}

    def __len__(self):
        return len(self.events)

    def path(self, inode):
        return self._paths[inode]

    def holds(self, path):
        return f"{os.path.realpath(path)}{os.sep}".startswith(self.root + os.sep)

    def inode(self, path, *, new=False):
        """The inode of a path; one that is not known yet, or is made anew, enters its folder."""
        path = os.path.realpath(path)
        if new or path not in self._inodes:
            number = len(self._paths)
            self._paths[number] = path
            self._entry(path, number)
        return self._inodes[path]

    def write(self, inode, offset, data):
        self.events.append(("write", inode, offset, bytes(data)))

    def truncate(self, inode, size):
        self.events.append(("truncate", inode, size))

    def sync(self, inode):
        if not self.deaf(self._paths[inode]):
            self.events.append(("sync", inode))

    def sync_path(self, path):
        if self.holds(path):
            self.sync(self.inode(path))

    def unlink(self, path):
        self._entry(os.path.realpath(path), None)

    def link(self, path, to):
        self._entry(os.path.realpath(to), self.inode(path))

    def rename(self, path, to):
        path, to = os.path.realpath(path), os.path.realpath(to)
        assert os.path.dirname(path) == os.path.dirname(to)
        self._entry(to, self.inode(path), os.path.basename(path))
        del self._inodes[path]

    def _entry(self, path, inode, gone=None):
        folder, name = os.path.split(path)
        names = {name: inode} if gone is None else {gone: None, name: inode}
        self.folders.add(self.inode(folder))
        self.events.append(("entry", self.inode(folder), names))
        if inode is None:
            self._inodes.pop(path, None)
        else:
            self._inodes[path] = inode


class Replay:
    """What a disk held for sure at a moment, and what it had been told since.

    Args:
        disk: It.
    """

    def __init__(self, disk):
        self._disk = disk
        self._at = 0
        self._files = {}
        self._folders = {ROOT: {}}
        self._pending = {}
        self.placed = {}
        """Where the last image has the files, by inode."""

    def forward(self, moment):
        """Go on to a moment, the number of events that have happened."""
        assert moment >= self._at
        for event in self._disk.events[self._at : moment]:
            kind, inode = event[:2]
            if kind != "sync":
                self._pending.setdefault(inode, []).append(event)
                continue
            for old in self._pending.pop(inode, ()):
                self._carry_out(old)
        self._at = moment

    def image(self, to, chance, mode=None):
        """Lay out in a folder what the disk may hold after a power cut at this moment.

        Returns:
            What became of that which was not synced: one of `MODES`.
        """
        mode = mode or chance.choice(MODES)
        self.placed = {}
        self._lay_out(ROOT, to, mode, chance)
        return mode

    def _carry_out(self, event):
        kind, inode = event[:2]
        if kind == "entry":
            entries = self._folders.setdefault(inode, {})
            _enter(entries, event[2])
        else:
            _change(self._files.setdefault(inode, bytearray()), event)

    def _lay_out(self, inode, path, mode, chance):
        entries = dict(self._folders.get(inode, {}))
        for event in _survivors(self._pending.get(inode, ()), mode, chance):
            _enter(entries, event[2])
        os.makedirs(path, mode=0o700, exist_ok=True)
        for name, each in entries.items():
            place = os.path.join(path, name)
            if each in self._disk.folders:
                self._lay_out(each, place, mode, chance)
            elif each in self.placed:
                os.link(self.placed[each], place)
            else:
                self.placed[each] = place
                with open(place, "wb") as file:
                    file.write(self._content(each, mode, chance))
                os.chmod(place, 0o600)

    def _content(self, inode, mode, chance):
        content = bytearray(self._files.get(inode, b""))
        for event in _survivors(self._pending.get(inode, ()), mode, chance):
            _change(content, event)
        return content


def _enter(entries, names):
    for name, inode in names.items():
        if inode is None:
            entries.pop(name, None)
        else:
            entries[name] = inode


def _change(content, event):
    if event[0] == "truncate":
        size = event[2]
        del content[size:]
        content.extend(bytes(size - len(content)))
        return
    _, _, offset, data = event
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _survivors(pending, mode, chance):
    """The part of what was not synced that is on the disk all the same, cut into sectors where it is torn."""
    if mode == "none" or not pending:
        return []
    if mode == "all":
        return pending
    if mode == "prefix":
        end = chance.randrange(len(pending) + 1)
        torn = [piece for event in pending[end : end + 1] for piece in _sectors(event)]
        return [*pending[:end], *torn[: chance.randrange(len(torn) + 1)]]
    share = chance.choice([0.05, 0.5, 0.9, 0.99])
    pieces = pending if mode == "some" else [piece for event in pending for piece in _sectors(event)]
    return [piece for piece in pieces if chance.random() < share]


def _sectors(event):
    if event[0] != "write":
        return [event]
    kind, inode, offset, data = event
    ends = [*range(SECTOR - offset % SECTOR, len(data), SECTOR), len(data)]
    return [(kind, inode, offset + at, data[at:end]) for at, end in zip([0, *ends], ends, strict=False)]


def moments(disk, count, chance):
    """Random moments, most of them where much was not synced, in order."""
    unsynced, sizes = {}, []
    for kind, inode, *_ in disk.events:
        unsynced[inode] = 0 if kind == "sync" else unsynced.get(inode, 0) + 1
        sizes.append(min(8, sum(unsynced.values())) + 1)
    places = [sum(sizes[:1])]
    for size in sizes[1:]:
        places.append(places[-1] + size)
    return sorted(bisect.bisect_left(places, chance.uniform(0, places[-1])) + 1 for _ in range(count))
