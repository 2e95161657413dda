"""When snapshots were last used, and the ones that are on their way out, in the metadata.

A snapshot that is pruned leaves the table of snapshots and enters that of doomed ones in one transaction, so
that nothing takes it any more, and leaves that one when it is gone from the disk. The instructions that led
to it keep its id: they tell that there was one.
"""

from __future__ import annotations

from kleene.metadata.database import Database


class SpaceStore:
    """Reads and writes of what pruning needs to know."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> list[tuple[str, str, str]]:
        """Of every snapshot, oldest first: its id, that of the image it lies in, when it was last used."""
        rows = self._database.query(
            "SELECT s.id, s.image_id, u.used FROM snapshots s JOIN snapshot_uses u USING (id)"
            " ORDER BY s.rowid"
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def references(self) -> list[tuple[str, int, str, str | None, str | None]]:
        """Of every instruction: its image, number and text, the snapshot after it and the one before it."""
        rows = self._database.query(
            "SELECT image_id, position, text, snapshot_id, before FROM instructions ORDER BY rowid"
        )
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def step_to(self, snapshot: str, image: str) -> tuple[str, int, str | None] | None:
        """The step that led to a snapshot: its image, number, and the snapshot before it.

        Args:
            image: the one whose step is preferred.
        """
        rows = self._database.query(
            "SELECT image_id, position, before FROM instructions WHERE snapshot_id = ?"
            " ORDER BY image_id != ?, rowid LIMIT 1",
            [snapshot, image],
        )
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def doom(self, snapshot: str) -> None:
        """Take a snapshot from everybody's sight before it is destroyed."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO doomed_snapshots"
                " SELECT id, 'image/' || image_id FROM snapshots WHERE id = ?",
                [snapshot],
            )
            self._database.execute("DELETE FROM snapshots WHERE id = ?", [snapshot])

    def doom_early(self, snapshot: str, dataset: str) -> None:
        """Write down a snapshot that is yet to be taken, and will be destroyed soon."""
        self._database.execute(
            "INSERT INTO doomed_snapshots (id, dataset) VALUES (?, ?)", [snapshot, dataset]
        )

    def doomed(self) -> list[tuple[str, str]]:
        """The doomed snapshots: their ids and datasets."""
        rows = self._database.query("SELECT id, dataset FROM doomed_snapshots ORDER BY rowid")
        return [(row[0], row[1]) for row in rows]

    def gone(self, snapshot: str) -> None:
        """A doomed snapshot is destroyed."""
        self._database.execute("DELETE FROM doomed_snapshots WHERE id = ?", [snapshot])
