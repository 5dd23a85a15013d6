//! What a driver error means to a caller.

use sqlx::migrate::MigrateError;

use crate::{Error, ErrorKind};

pub(super) const COMPONENT: &str = "sqlite";

// Primary result codes, <https://www.sqlite.org/rescode.html>: the low byte of an extended one.
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const SCHEMA: i32 = 17;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const NOLFS: i32 = 22;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;

// Extended ones that mean other than their low byte.
const IOERR_DATA: i32 = IOERR | 32 << 8;
const IOERR_CORRUPTFS: i32 = IOERR | 33 << 8;

pub(super) fn kind_of_code(code: i32) -> ErrorKind {
    match code {
        IOERR_DATA | IOERR_CORRUPTFS => return ErrorKind::Corrupt,
        _ => {}
    }
    match code & 0xff {
        BUSY | LOCKED | PROTOCOL | SCHEMA | INTERRUPT => ErrorKind::Unavailable,
        PERM | AUTH | READONLY | CANTOPEN => ErrorKind::Unavailable,
        IOERR | FULL | NOMEM | NOLFS => ErrorKind::Unavailable,
        CORRUPT | NOTADB => ErrorKind::Corrupt,
        CONSTRAINT => ErrorKind::Conflict,
        TOOBIG => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    }
}

fn kind(error: &sqlx::Error) -> ErrorKind {
    use sqlx::Error as E;
    match error {
        E::Database(database) => {
            let code = database.code().and_then(|code| code.parse().ok());
            code.map_or(ErrorKind::Other, kind_of_code)
        }
        E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::BeginFailed => {
            ErrorKind::Unavailable
        }
        // The column is not of the type that the migrations gave it.
        E::ColumnDecode { .. } | E::Decode(_) => ErrorKind::Corrupt,
        E::Encode(_) | E::Configuration(_) => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    }
}

/// `error` happened while doing what `context` says.
pub(super) fn failed(context: String, error: sqlx::Error) -> Error {
    Error::new(kind(&error), COMPONENT, context).with_source(error)
}

/// As [`failed`], of a migration.
pub(super) fn migration_failed(context: String, error: MigrateError) -> Error {
    let kind = match &error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => kind(error),
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
            ErrorKind::NotSupported
        }
        MigrateError::Dirty(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Other,
    };
    Error::new(kind, COMPONENT, context).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_a_caller_can_do() {
        for (code, expected) in [
            (5, ErrorKind::Unavailable),
            // SQLITE_BUSY_SNAPSHOT
            (517, ErrorKind::Unavailable),
            // SQLITE_READONLY_DBMOVED
            (1032, ErrorKind::Unavailable),
            // SQLITE_FULL
            (13, ErrorKind::Unavailable),
            // SQLITE_IOERR_FSYNC
            (1034, ErrorKind::Unavailable),
            // SQLITE_IOERR_CORRUPTFS
            (8458, ErrorKind::Corrupt),
            // SQLITE_CORRUPT_INDEX
            (779, ErrorKind::Corrupt),
            (26, ErrorKind::Corrupt),
            // SQLITE_CONSTRAINT_PRIMARYKEY
            (1555, ErrorKind::Conflict),
            (18, ErrorKind::InvalidInput),
            // SQLITE_ERROR: a table that is not there
            (1, ErrorKind::Other),
        ] {
            assert_eq!(kind_of_code(code), expected, "{code}");
        }
    }
}
