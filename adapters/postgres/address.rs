//! Where the database is: what a URL and the options of the driver say, and what is wrong with it.

use std::fs::File;
use std::io;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::error::{COMPONENT, failed};
use crate::{Error, ErrorKind};

/// The parameters of a URL that the driver knows, beside `options[name]`.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The values of `sslmode`.
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

fn invalid(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, COMPONENT, context)
}

/// What `url` says.
pub(super) fn of_url(url: &str) -> Result<PgConnectOptions, Error> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(invalid("the database URL does not begin with postgres://"));
    }
    only_known_parameters(url)?;
    no_rest_of_a_password(url)?;
    PgConnectOptions::from_str(url)
        .map_err(|e| failed("the database URL cannot be used".to_owned(), e))
}

/// A `/` in a password ends what is in front of the host: the rest would be told as the name of the
/// host and of the database.
fn no_rest_of_a_password(url: &str) -> Result<(), Error> {
    let (_, behind_scheme) = url.split_once("://").unwrap_or_default();
    let before_query = behind_scheme.split(['?', '#']).next().unwrap_or_default();
    match before_query.split_once('/') {
        Some((_, path)) if path.contains('@') => Err(invalid(
            "the database URL has an @ behind its first /: write what is no letter or digit in user \
             and password by its code, / as %2F and @ as %40",
        )),
        _ => Ok(()),
    }
}

/// The driver would log what another parameter says, which may be a secret, and connect without it,
/// which may be without the certificate that was meant.
fn only_known_parameters(url: &str) -> Result<(), Error> {
    let before_fragment = url.split_once('#').map_or(url, |(before, _)| before);
    let Some((_, query)) = before_fragment.split_once('?') else { return Ok(()) };
    let parameters = || query.split('&').filter(|parameter| !parameter.is_empty());
    let mut names = parameters().map(|one| one.split_once('=').map_or(one, |(name, _)| name));
    let is_known = |name: &str| {
        let decoded = name.to_ascii_lowercase().replace("%5b", "[").replace("%5d", "]");
        let is_of_server = decoded.starts_with("options[") && decoded.ends_with(']');
        PARAMETERS.contains(&name) || (is_of_server && name.starts_with("options"))
    };
    let Some(name) = names.find(|name| !is_known(name)) else {
        let mut modes = parameters().filter_map(|one| {
            one.strip_prefix("sslmode=").or_else(|| one.strip_prefix("ssl-mode="))
        });
        return match modes.all(|mode| MODES.iter().any(|known| known.eq_ignore_ascii_case(mode))) {
            true => Ok(()),
            false => {
                Err(invalid(format!("sslmode of the database URL is none of {}", MODES.join(", "))))
            }
        };
    };
    // Behind a `?` in a password comes the rest of it, and then an `@`.
    let is_a_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let may_be_told = !query.contains('@') && name.bytes().all(is_a_name);
    let (name, known) = (if may_be_told { name } else { "" }, PARAMETERS.join(", "));
    let space = if name.is_empty() { "" } else { " " };
    Err(invalid(format!(
        "the database URL has a parameter{space}{name} that the driver does not know; it knows {known} \
        and options[name]"
    )))
}

/// `require` with an authority checks it, as with psql; the driver would look at no certificate.
pub(super) fn with_authority_checked(options: PgConnectOptions) -> PgConnectOptions {
    match options.get_ssl_mode() {
        PgSslMode::Require if certificates(&options).iter().any(|(name, _)| name == AUTHORITY) => {
            options.ssl_mode(PgSslMode::VerifyCa)
        }
        _ => options,
    }
}

const AUTHORITY: &str = "sslrootcert";

/// Authority, certificate and key of the client, as far as `options` have them: what the driver calls
/// each, and what it says.
fn certificates(options: &PgConnectOptions) -> Vec<(String, String)> {
    // The driver panics where user and host make no URL together; they are not asked for.
    let url = options.clone().username("user").socket("/socket").to_url_lossy();
    let parameters = url.query_pairs().into_owned();
    parameters.filter(|(name, _)| [AUTHORITY, "sslcert", "sslkey"].contains(&&**name)).collect()
}

/// Whether the files can be read that the driver reads when it connects. Which one it could not read
/// it would not say, and its next attempt would meet the same.
pub(super) fn look_for_files(options: &PgConnectOptions) -> Result<(), Error> {
    let (authority, client) = match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow => (false, false),
        PgSslMode::Prefer | PgSslMode::Require => (false, true),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => (true, true),
    };
    for (name, said) in certificates(options) {
        // Anything else is the certificate itself.
        let Some(path) = said.strip_prefix("file: ") else { continue };
        let is_read = if name == AUTHORITY { authority } else { client };
        // A path that is no text is not told as it is.
        if is_read && !path.contains(char::REPLACEMENT_CHARACTER) {
            can_be_read(path).map_err(|error| {
                invalid(format!("{name} names {path}, which cannot be read")).with_source(error)
            })?;
        }
    }
    Ok(())
}

fn can_be_read(path: &str) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // To open a pipe would be to wait for who writes to it.
    if found.is_file() { File::open(path).map(drop) } else { Ok(()) }
}

/// Host, port and database, for messages.
pub(super) fn name_of(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{}:{}/{database}", options.get_host(), options.get_port())
}

#[cfg(test)]
mod tests {
    use super::super::PostgresStore;
    use super::*;

    fn refusal(url: &str) -> String {
        let error = PostgresStore::builder(url).target().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        format!("{error:?} {}", error.chain())
    }

    #[test]
    fn a_parameter_that_the_driver_does_not_know_is_refused_by_name_and_its_value_is_not_told() {
        for name in ["passwd", "sslrootcrt", "SSLMODE", "connect_timeout", "options[a"] {
            let said = refusal(&format!("postgres://u@h/db?sslmode=require&{name}=hunter2&user=a"));
            assert!(!said.contains("hunter2"), "{said}");
            assert!(said.contains(name) || name.contains('['), "{said}");
            assert!(said.contains("it knows sslmode, "), "{said}");
        }
        // What is no name may be a part of a password.
        for url in [
            "postgres://u:1?hunter2=x@h/db",
            "postgres://u@h/db?a%hunter2",
            "postgres://u?=hunter2",
        ] {
            let said = refusal(url);
            assert!(!said.contains("hunter2") && said.contains("a parameter that"), "{said}");
        }
        for name in PARAMETERS.iter().chain(&["options[a]", "options%5Ba%5D", ""]) {
            let value = match *name {
                "sslmode" | "ssl-mode" => "require",
                "hostaddr" => "127.0.0.1",
                "" => "",
                _ => "9",
            };
            let equals = if name.is_empty() { "" } else { "=" };
            let url = format!("postgres://u@h/db?{name}{equals}{value}#passwd=1");
            PostgresStore::builder(&url)
                .target()
                .unwrap_or_else(|e| panic!("{url}: {}", e.chain()));
        }
    }

    #[test]
    fn a_mode_that_there_is_not_is_answered_with_those_that_there_are() {
        let said = refusal("postgres://u@h/db?application_name=a&sslmode=verfy-full");
        assert!(said.contains("is none of disable, ") && !said.contains("verfy"), "{said}");
        PostgresStore::builder("postgres://u@h/db?sslmode=DISABLE").target().unwrap();
    }

    #[test]
    fn a_password_that_is_not_escaped_is_in_no_name() {
        for password in ["p@ss/w", "p/w", "/", "a/b/c"] {
            let said = refusal(&format!("postgres://u:{password}@h:5432/db?sslmode=require"));
            assert!(said.contains("/ as %2F and @ as %40"), "{said}");
            assert!(!said.contains("ss/w") && !said.contains("p/w"), "{said}");
        }
        for fine in ["postgres://u:p%40ss%2Fw@h/db", "postgres://u:p@ss@h/db", "postgres://h/d%40b"]
        {
            let target = PostgresStore::builder(fine).target().unwrap();
            assert!(!target.contains("ss"), "{target}");
        }
    }

    #[test]
    fn require_with_an_authority_checks_it_wherever_that_is_named() {
        let options = || {
            PgConnectOptions::new_without_pgpass()
                .host("db.internal")
                .ssl_mode(PgSslMode::Require)
                .ssl_root_cert("/ca.pem")
        };
        let is_checked = |options| {
            let builder = PostgresStore::builder_with(options);
            matches!(builder.options().unwrap().get_ssl_mode(), PgSslMode::VerifyCa)
        };
        assert!(is_checked(options()));
        assert!(is_checked(options().ssl_root_cert_from_pem(b"-----BEGIN".to_vec())));
        // Of which the driver can make no URL.
        assert!(is_checked(options().host("::1").username("a:b/c@d")));
        assert!(!is_checked(options().ssl_mode(PgSslMode::Prefer)));
        let url = "postgres://u@h/db?sslmode=require";
        for (more, checked) in
            [("&sslrootcert=/ca.pem", true), ("&ssl-ca=/ca.pem", true), ("", false)]
        {
            let options = PostgresStore::builder(format!("{url}{more}")).options().unwrap();
            let mode = options.get_ssl_mode();
            assert_eq!(matches!(mode, PgSslMode::VerifyCa), checked, "{more}: {mode:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("is-there.pem");
        std::fs::write(&file, "").unwrap();
        let [file, folder] = [&file, folder.path()].map(|path| path.to_str().unwrap());
        let gone = format!("{folder}/gone.pem");
        let url = "postgres://u@127.0.0.1:1/db";
        let open =
            |more: &str| PostgresStore::builder(format!("{url}?{more}")).open_later().map(drop);
        for (more, path) in [
            (format!("sslmode=require&sslrootcert={gone}"), &*gone),
            (format!("sslmode=verify-full&sslrootcert={folder}"), folder),
            (format!("sslcert={gone}&sslkey={file}"), &*gone),
            (format!("sslcert={file}&sslkey={gone}"), &*gone),
        ] {
            let error = open(&more).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{more}");
            let said = error.chain();
            assert!(said.contains(&format!("names {path}, which cannot be read: ")), "{said}");
        }
        open(&format!("sslmode=verify-full&sslrootcert={file}&sslcert={file}&sslkey={file}"))
            .unwrap();
        // Which the driver does not read.
        open(&format!("sslmode=disable&sslrootcert={gone}&sslcert={gone}")).unwrap();
    }
}
