-- Every entity: one row, or a tombstone (body NULL) after its delete. The body keeps the order of
-- its members, which jsonb would not.
CREATE TABLE documents (
    kind     text   NOT NULL,
    id       uuid   NOT NULL,
    revision bigint NOT NULL,
    body     json,
    PRIMARY KEY (kind, id)
);

-- What a node asks that knows an older revision.
CREATE INDEX documents_revision ON documents (revision);

-- The number of the last commit. Moving it is what makes a commit exclusive.
CREATE TABLE revision (
    one    boolean PRIMARY KEY CHECK (one),
    number bigint  NOT NULL
);

INSERT INTO revision (one, number) VALUES (true, 0);
