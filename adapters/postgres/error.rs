//! What a driver error means to a caller.

use crate::{Error, ErrorKind};

pub(super) const COMPONENT: &str = "postgres";

/// How often a transaction is begun again that the server ended to let another one go on.
pub(super) const RETRIES: u32 = 3;

/// What a code of the server means, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        // read_only_sql_transaction, on a standby; lock_not_available; query_canceled, by a time limit
        "25006" | "55P03" | "57014" => return ErrorKind::Unavailable,
        // sequence_generator_limit_exceeded: it is not the batch that is wrong
        "2200H" => return ErrorKind::Unavailable,
        // admin_shutdown, crash_shutdown, cannot_connect_now, idle session ended
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => return ErrorKind::Unavailable,
        // insufficient_privilege
        "42501" => return ErrorKind::Unauthorized,
        // invalid_catalog_name: there is no such database
        "3D000" => return ErrorKind::NotFound,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => return ErrorKind::Corrupt,
        _ => {}
    }
    match code.get(..2).unwrap_or_default() {
        // connection, transaction rolled back, resources, system error
        "08" | "40" | "53" | "58" => ErrorKind::Unavailable,
        "28" => ErrorKind::Unauthorized,
        "23" => ErrorKind::Conflict,
        // data exception, program limit
        "22" | "54" => ErrorKind::InvalidInput,
        "0A" => ErrorKind::NotSupported,
        _ => ErrorKind::Other,
    }
}

fn kind(error: &sqlx::Error) -> ErrorKind {
    use sqlx::Error as E;
    match error {
        E::Database(database) => {
            database.code().map_or(ErrorKind::Other, |code| kind_of_code(&code))
        }
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
            ErrorKind::Unavailable
        }
        // The connection broke in the middle of a message.
        E::BeginFailed | E::Protocol(_) => ErrorKind::Unavailable,
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

/// The server's code of `error`, if it is of the server.
fn code(error: &Error) -> Option<String> {
    let source = std::error::Error::source(error)?.downcast_ref::<sqlx::Error>()?;
    Some(source.as_database_error()?.code()?.into_owned())
}

/// Whether the server ended the transaction so that another could go on: a deadlock or a
/// serialization failure. The same may be tried again at once.
pub(super) fn is_transient(error: &Error) -> bool {
    code(error).is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// Whether the server answered and its TLS will not do: its certificate, its versions, or that it
/// has none. The next attempt would meet the same.
fn is_refusal_of_tls(error: &Error) -> bool {
    match error.cause() {
        Some(sqlx::Error::Tls(_)) => true,
        // Under this kind rustls hands its errors on.
        Some(sqlx::Error::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Whether the server answered, and will not do as things are.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind() != ErrorKind::Unavailable || is_refusal_of_tls(error)
}

/// Whether somebody else held a lock for too long.
pub(super) fn is_locked(error: &Error) -> bool {
    code(error).is_some_and(|code| code == "55P03")
}

/// Awaits `$attempt`, again while it fails as a deadlock does, at most [`RETRIES`] times.
macro_rules! with_retries {
    ($attempt:expr) => {{
        let mut left = $crate::postgres::error::RETRIES;
        loop {
            match $attempt.await {
                Err(error) if left > 0 && $crate::postgres::error::is_transient(&error) => {
                    left -= 1
                }
                answer => break answer,
            }
        }
    }};
}

pub(super) use with_retries;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_a_caller_can_do() {
        for (code, expected) in [
            ("53100", ErrorKind::Unavailable),  // disk_full
            ("53300", ErrorKind::Unavailable),  // too_many_connections
            ("40P01", ErrorKind::Unavailable),  // deadlock_detected
            ("40001", ErrorKind::Unavailable),  // serialization_failure
            ("57014", ErrorKind::Unavailable),  // query_canceled
            ("25006", ErrorKind::Unavailable),  // read_only_sql_transaction
            ("58030", ErrorKind::Unavailable),  // io_error
            ("08006", ErrorKind::Unavailable),  // connection_failure
            ("2200H", ErrorKind::Unavailable),  // sequence_generator_limit_exceeded
            ("28P01", ErrorKind::Unauthorized), // invalid_password
            ("42501", ErrorKind::Unauthorized), // insufficient_privilege
            ("3D000", ErrorKind::NotFound),     // invalid_catalog_name
            ("23505", ErrorKind::Conflict),     // unique_violation
            ("22021", ErrorKind::InvalidInput), // character_not_in_repertoire
            ("22003", ErrorKind::InvalidInput), // numeric_value_out_of_range
            ("XX001", ErrorKind::Corrupt),      // data_corrupted
            ("42P01", ErrorKind::Other),        // undefined_table
            ("", ErrorKind::Other),
        ] {
            assert_eq!(kind_of_code(code), expected, "{code}");
        }
    }
}
