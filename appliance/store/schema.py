"""The database's tables, as the list of migrations that made them."""

MIGRATIONS: tuple[str, ...] = (
    """
    -- Raw MQTT messages in the order of their commit, many to a row. Position is the order of everything.
    CREATE TABLE journal (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        received_at REAL NOT NULL,
        messages INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;

    -- How far each reader has come: the worker in the journal, every sink in its log.
    CREATE TABLE cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;

    CREATE TABLE counters (
        machine TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (machine, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        received_at REAL NOT NULL,
        topic BLOB NOT NULL,
        payload BLOB NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        readings INTEGER NOT NULL
    ) STRICT;

    -- What a machine looks like from outside, for people and scripts.
    CREATE TABLE machines (machine TEXT PRIMARY KEY, updated_at REAL NOT NULL, body BLOB NOT NULL) STRICT;

    -- What a restart needs: the fitted model (rarely written) and the moving part (often, hence small).
    CREATE TABLE models (machine TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE checkpoints (name TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;

    -- A machine's readings on its grid, in blocks, as far back as retention allows.
    CREATE TABLE samples (
        machine TEXT NOT NULL, start REAL NOT NULL, cells INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (machine, start)
    ) STRICT;

    -- The score log and the alert log.
    CREATE TABLE channel_sets (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE scores (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        machine TEXT NOT NULL, source TEXT NOT NULL, start REAL NOT NULL, end REAL NOT NULL,
        score REAL, threshold REAL, alarm INTEGER NOT NULL, trust TEXT NOT NULL, blank TEXT,
        extrapolated INTEGER NOT NULL, coverage REAL NOT NULL, model INTEGER NOT NULL,
        channels INTEGER NOT NULL REFERENCES channel_sets (id), body BLOB NOT NULL,
        UNIQUE (machine, end)
    ) STRICT;
    CREATE TABLE alerts (
        id TEXT PRIMARY KEY, machine TEXT NOT NULL, state TEXT NOT NULL, opened_at REAL NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX alerts_by_time ON alerts (opened_at);
    CREATE TABLE alert_log (id INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL, body BLOB NOT NULL) STRICT;

    -- The appliance's own pulse, one row a minute.
    CREATE TABLE vitals (id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, body BLOB NOT NULL) STRICT;

    -- What a sink refused for good, one point a row.
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sink TEXT NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL
    ) STRICT;
    """,
    """
    -- What operators have said, in the order in which it was taken in.
    CREATE TABLE labels (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, machine TEXT NOT NULL, body BLOB NOT NULL,
        UNIQUE (machine, id)
    ) STRICT;

    -- What a machine's present detector saw of its windows, in blocks, as far back as the readings.
    CREATE TABLE traces (
        machine TEXT NOT NULL, model INTEGER NOT NULL, first_end REAL NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (machine, model, first_end)
    ) STRICT, WITHOUT ROWID;

    -- The last heads of each machine, and what they changed.
    CREATE TABLE heads (
        machine TEXT NOT NULL, number INTEGER NOT NULL, words TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (machine, number)
    ) STRICT;
    """,
    """
    -- Which head judged a window, and what came of each attempt to change it.
    ALTER TABLE scores ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL, body BLOB NOT NULL
    ) STRICT;
    """,
)
