-- Work that is done once per slot, whoever does it: the attempt is the fencing token.
CREATE TABLE job_runs (
    job TEXT NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    result TEXT,
    PRIMARY KEY (job, slot)
) STRICT, WITHOUT ROWID;
