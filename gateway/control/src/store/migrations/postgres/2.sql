-- Counters of plugins, which are no part of the catalog. They are lost with the server's power, and
-- cost no sync of its log.
CREATE UNLOGGED TABLE counters (
    key     text   PRIMARY KEY,
    value   bigint NOT NULL,
    expires bigint NOT NULL
);

CREATE INDEX counters_expires ON counters (expires);
