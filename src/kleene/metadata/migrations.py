"""The database's schema, as the numbered steps that lead to it.

A step that has been released is never changed: a new one is appended. ``PRAGMA user_version`` counts the
steps that a database has taken.
"""

from __future__ import annotations

_WALK = """
CREATE TABLE images (
    id       TEXT PRIMARY KEY,
    name     TEXT,
    tag      TEXT,
    state    TEXT NOT NULL CHECK (state IN ('making', 'ready', 'removed')),
    created  TEXT NOT NULL,
    cmd      TEXT NOT NULL,
    env      TEXT NOT NULL,
    user     TEXT NOT NULL,
    workdir  TEXT NOT NULL,
    snapshot TEXT,
    parent   TEXT NOT NULL,
    settings TEXT NOT NULL,
    CHECK ((name IS NULL) = (tag IS NULL))
) STRICT;
CREATE UNIQUE INDEX images_by_nametag ON images (name, tag);

-- A snapshot lies in the dataset of the image that made it, and may serve others (cache, clones).
CREATE TABLE snapshots (
    id       TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    key      TEXT,
    parent   TEXT,
    inputs   TEXT NOT NULL,
    manifest TEXT
) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots (parent);
-- When a snapshot was made or last served: as a step of a build, or as what a container was cloned from.
CREATE TABLE snapshot_uses (
    id   TEXT PRIMARY KEY REFERENCES snapshots ON DELETE CASCADE,
    used TEXT NOT NULL
) STRICT;
CREATE TRIGGER snapshot_made AFTER INSERT ON snapshots BEGIN
    INSERT INTO snapshot_uses VALUES (NEW.id, strftime('%Y-%m-%dT%H:%M:%fZ'));
END;
-- Snapshots that nobody sees any more and that are still on disk.
CREATE TABLE doomed_snapshots (
    id      TEXT PRIMARY KEY,
    dataset TEXT NOT NULL
) STRICT;
CREATE INDEX snapshots_by_key ON snapshots (key);
CREATE INDEX snapshots_by_image ON snapshots (image_id);
CREATE INDEX snapshots_by_manifest ON snapshots (manifest) WHERE manifest IS NOT NULL;

-- Which files a COPY took, to tell which of them changed.
CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,
    data   BLOB NOT NULL
) STRICT;

CREATE TABLE instructions (
    image_id    TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    text        TEXT NOT NULL,
    snapshot_id TEXT,
    failed      INTEGER NOT NULL,
    before      TEXT,
    stage       INTEGER NOT NULL,
    stage_name  TEXT NOT NULL,
    first_line  INTEGER NOT NULL,
    last_line   INTEGER NOT NULL,
    key         TEXT NOT NULL,
    cached      INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    seconds     REAL NOT NULL,
    size        INTEGER,
    args        TEXT NOT NULL,
    user        TEXT NOT NULL,
    cwd         TEXT NOT NULL,
    shell       TEXT NOT NULL,
    env         TEXT NOT NULL,
    sets        TEXT NOT NULL,
    PRIMARY KEY (image_id, position)
) STRICT;
CREATE INDEX instructions_by_snapshot ON instructions (snapshot_id);
CREATE INDEX instructions_by_key ON instructions (key);
CREATE INDEX instructions_by_state_before ON instructions (before);
CREATE TRIGGER snapshot_found AFTER INSERT ON instructions WHEN NEW.snapshot_id IS NOT NULL BEGIN
    UPDATE snapshot_uses SET used = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = NEW.snapshot_id;
END;

CREATE TABLE containers (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    state          TEXT NOT NULL CHECK (state IN ('making', 'ready', 'removing')),
    image_id       TEXT NOT NULL,
    image_name     TEXT NOT NULL,
    image_tag      TEXT NOT NULL,
    dataset        TEXT NOT NULL,
    created        TEXT NOT NULL,
    running        INTEGER NOT NULL,
    cmd            TEXT NOT NULL,
    env            TEXT NOT NULL,
    user           TEXT NOT NULL,
    workdir        TEXT NOT NULL,
    jail_param     TEXT NOT NULL,
    network_driver TEXT NOT NULL,
    persist        INTEGER NOT NULL,
    restart_policy TEXT NOT NULL,
    auto_remove    INTEGER NOT NULL,
    mounts         TEXT NOT NULL,
    ports          TEXT NOT NULL,
    exit_code      INTEGER,
    entrypoint     TEXT NOT NULL,
    stop_signal    TEXT NOT NULL,
    settings       TEXT NOT NULL,
    wanted         INTEGER NOT NULL,
    restart_count  INTEGER NOT NULL,
    started        TEXT NOT NULL,
    finished       TEXT NOT NULL,
    health         TEXT NOT NULL,
    snapshot       TEXT NOT NULL
) STRICT;
CREATE TRIGGER snapshot_run AFTER INSERT ON containers WHEN NEW.snapshot != '' BEGIN
    UPDATE snapshot_uses SET used = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = NEW.snapshot;
END;

CREATE TABLE execs (
    id           TEXT PRIMARY KEY,
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    state        TEXT NOT NULL CHECK (state IN ('created', 'running')),
    cmd          TEXT NOT NULL,
    env          TEXT NOT NULL,
    user         TEXT NOT NULL,
    tty          INTEGER NOT NULL,
    stdin        INTEGER NOT NULL
) STRICT;
CREATE INDEX execs_by_container ON execs (container_id);

CREATE TABLE networks (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    type      TEXT NOT NULL,
    subnet    TEXT NOT NULL,
    subnet6   TEXT NOT NULL,
    gateway   TEXT NOT NULL,
    gateway6  TEXT NOT NULL,
    nat       TEXT NOT NULL,
    icc       INTEGER NOT NULL,
    internal  INTEGER NOT NULL,
    interface TEXT NOT NULL
) STRICT;

CREATE TABLE endpoints (
    id           TEXT PRIMARY KEY,
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    network_id   TEXT NOT NULL REFERENCES networks ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    ip_address   TEXT,
    ip_address6  TEXT,
    UNIQUE (network_id, container_id),
    UNIQUE (container_id, position),
    UNIQUE (network_id, ip_address),
    UNIQUE (network_id, ip_address6)
) STRICT;
CREATE INDEX endpoints_by_container ON endpoints (container_id);

-- The directories of RUN --mount=type=cache, in datasets of their own.
CREATE TABLE build_caches (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('making', 'ready')),
    created TEXT NOT NULL,
    used    TEXT NOT NULL
) STRICT;

CREATE TABLE volumes (
    name    TEXT PRIMARY KEY,
    state   TEXT NOT NULL CHECK (state IN ('making', 'ready', 'removing')),
    created TEXT NOT NULL,
    dataset TEXT NOT NULL,
    quota   INTEGER
) STRICT;

CREATE TABLE secrets (
    name    TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    labels  TEXT NOT NULL,
    data    TEXT NOT NULL -- encrypted
) STRICT;

CREATE TABLE configs (
    name    TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    labels  TEXT NOT NULL,
    data    TEXT NOT NULL
) STRICT;

CREATE TABLE volume_snapshots (
    id      TEXT PRIMARY KEY,
    volume  TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
    name    TEXT NOT NULL,
    dataset TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('making', 'ready', 'removing')),
    created TEXT NOT NULL,
    UNIQUE (volume, name)
) STRICT;
"""

_PLACE_OF_PROCESSES = """
ALTER TABLE execs ADD COLUMN workdir    TEXT    NOT NULL DEFAULT '';
ALTER TABLE execs ADD COLUMN privileged INTEGER NOT NULL DEFAULT 0;
"""

# What a step was taken with, to enter it as it was.
_MOUNTS_OF_STEPS = """
ALTER TABLE images       ADD COLUMN place    TEXT    NOT NULL DEFAULT '{}';
ALTER TABLE instructions ADD COLUMN mounts   TEXT    NOT NULL DEFAULT '[]';
ALTER TABLE instructions ADD COLUMN network  TEXT    NOT NULL DEFAULT 'default';
ALTER TABLE instructions ADD COLUMN insecure INTEGER NOT NULL DEFAULT 0;
"""

# When networks that exist were made is not known: it was not later than now.
_LABELS = """
ALTER TABLE volumes  ADD COLUMN labels  TEXT NOT NULL DEFAULT '{}';
ALTER TABLE networks ADD COLUMN labels  TEXT NOT NULL DEFAULT '{}';
ALTER TABLE networks ADD COLUMN created TEXT NOT NULL DEFAULT '';
UPDATE networks SET created = strftime('%Y-%m-%dT%H:%M:%fZ');
"""

# Lists of files have times and longer digests now; those without can no longer be compared.
_NEW_MANIFESTS = """
UPDATE snapshots SET manifest = NULL;
DELETE FROM manifests;
"""

# Of those that run, none can be told from the others now: the one that ends last counts.
_MAIN_PROCESSES = """
ALTER TABLE execs ADD COLUMN main INTEGER NOT NULL DEFAULT 1;
"""

MIGRATIONS: tuple[str, ...] = (
    _WALK,
    _PLACE_OF_PROCESSES,
    _MOUNTS_OF_STEPS,
    _LABELS,
    _NEW_MANIFESTS,
    _MAIN_PROCESSES,
)
