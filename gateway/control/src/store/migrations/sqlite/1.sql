-- Every entity: one row, or a tombstone (body NULL) after its delete.
CREATE TABLE documents (
    kind     TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    body     TEXT,
    PRIMARY KEY (kind, id)
);

-- The number of the last commit. Moving it is what makes a commit exclusive.
CREATE TABLE revision (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL
);

INSERT INTO revision (one, number) VALUES (1, 0);
