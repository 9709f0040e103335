-- Counters of plugins, which are no part of the catalog.
CREATE TABLE counters (
    key     TEXT    PRIMARY KEY,
    value   INTEGER NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX counters_expires ON counters (expires);
