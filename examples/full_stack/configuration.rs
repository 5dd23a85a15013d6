//! Where settings come from: the command line, then the environment, then the defaults. What cannot
//! be is told all at once, before anything is done.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use pmmds::axum::TOKEN_CHARS;
use pmmds::drift::{DriftDetector, DriftSettings};

use crate::commands::folder;
use crate::settings::{Secret, Settings};
use crate::state::SQLITE;
use crate::telco;
use crate::{Arguments, Outcome};

/// How much alike names are of which one is a slip of the other; 1 is the same.
const ALIKE: f64 = 0.7;

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub(crate) struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [one] => f.write_str(one),
            all => {
                write!(f, "{} settings cannot be used", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// What is set, and by what.
pub(crate) struct Configuration {
    pub(crate) arguments: Arguments,
    /// what should be known and stops nobody
    pub(crate) warnings: Vec<String>,
    // name, value and origin of every setting
    shown: Vec<[String; 3]>,
}

impl Configuration {
    /// Reads all of it. `--help` is answered here.
    pub(crate) fn read() -> Result<Self, Problems> {
        let command = Arguments::command();
        // Without the environment: what is wrong on the command line.
        let bare = command.clone().mut_args(|arg| arg.env(Resettable::Reset));
        let line = match bare.clone().try_get_matches() {
            // With it, so that it is in the help.
            Err(error) if !error.use_stderr() => Arguments::command().try_get_matches().err(),
            outcome => outcome.err(),
        };
        let (set, mut problems, mut warnings) = environment(&command, &bare);
        if let Some(error) = line {
            if problems.is_empty() || !error.use_stderr() {
                error.exit();
            }
            problems.push(sentence(&error));
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let with = |arg: Arg| match set.get(arg.get_id().as_str()) {
            Some(value) => arg.default_value(value.clone()),
            None => arg,
        };
        let matches = bare.mut_args(with).get_matches();
        let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let named = |id: &str| name_of(&command, &matches, &set, id);
        let serves = matches!(arguments.command, Some(crate::Command::Serve { .. }));
        let problems: Vec<String> = problems_of(&arguments.settings, serves)
            .into_iter()
            .map(|(id, why)| format!("{}: {why}", named(id)))
            .chain(homeless(&arguments.settings, &named))
            .collect();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let parts = parts(&arguments.settings);
        if arguments.settings.database_url.is_some() && !parts.is_empty() {
            let parts: Vec<String> = parts.into_iter().map(&named).collect();
            let (parts, url) = (parts.join(", "), named("database_url"));
            warnings.push(format!("{url} says where log and ledger are; not used: {parts}"));
        }
        let shown = command.get_arguments().map(|arg| shown(arg, &matches, &set)).collect();
        Ok(Self { arguments, warnings, shown })
    }

    /// Prints it.
    pub(crate) fn show(&self) -> Outcome<ExitCode> {
        for [name, value, origin] in &self.shown {
            say!("{name:40} {value:24} {origin}");
        }
        say!("\nlog and ledger are in {}", store(&self.arguments.settings)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Where log and ledger are, in words.
pub(crate) fn store(settings: &Settings) -> Outcome<String> {
    Ok(match settings.postgres() {
        Some(postgres) => format!("PostgreSQL, {}", postgres.target()?),
        None => format!("SQLite, {}", folder(settings).join(SQLITE).display()),
    })
}

/// Values by the setting that they are for; what cannot be; what should be known.
type Environment = (BTreeMap<String, String>, Vec<String>, Vec<String>);

/// What the environment sets.
fn environment(command: &Command, bare: &Command) -> Environment {
    let (mut set, mut problems, mut warnings) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut known = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg.get_env().and_then(|name| name.to_str()) else { continue };
        known.push(name);
        let Some(value) = std::env::var_os(name) else { continue };
        let Ok(text) = value.into_string() else {
            problems.push(format!("{name} is not UTF-8"));
            continue;
        };
        let id = arg.get_id().as_str();
        let value = trimmed(id, &text);
        if value != text {
            warnings.push(format!("white space round {name} was taken off"));
        }
        // Alone, so that it is not the first of them that hides the others.
        let alone = bare.clone().mut_arg(id, |arg| arg.default_value(value.to_owned()));
        match alone.try_get_matches_from([command.get_name()]) {
            Ok(_) => drop(set.insert(id.to_owned(), value.to_owned())),
            Err(_) if linked(value) => problems.push(format!(
                "{name} is set by Kubernetes for a service of that name: give the service another \
                 one, or the pod enableServiceLinks: false"
            )),
            Err(error) => problems.push(format!("{name}: {}", sentence(&error))),
        }
    }
    for (name, value) in std::env::vars_os() {
        let (Ok(name), value) = (name.into_string(), value.to_string_lossy()) else { continue };
        // Those of the tests, which `scripts/services up` sets, are for the tests.
        let ours = name.starts_with("PMMDS_") && !name.starts_with("PMMDS_TEST_");
        if !ours || known.contains(&&*name) || of_kubernetes(&name, &value) {
            continue;
        }
        problems.push(match alike(&name, &known) {
            Some(meant) => format!("{name} is no setting; did you mean {meant}?"),
            None => format!("{name} is no setting; known are: {}", known.join(", ")),
        });
    }
    (set, problems, warnings)
}

/// The one of `known` that `name` may be a slip of.
fn alike<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &&str| strsim::normalized_damerau_levenshtein(name, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) >= ALIKE).then_some(nearest)
}

/// Whether it is an address such as Kubernetes sets for every service of a namespace.
fn linked(value: &str) -> bool {
    value.starts_with("tcp://") || value.starts_with("udp://")
}

/// Whether Kubernetes sets such a variable for a service that is called `pmmds` or so.
fn of_kubernetes(name: &str, value: &str) -> bool {
    let parts = ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP_", "_UDP_"];
    linked(value) || parts.iter().any(|part| name.contains(part))
}

/// A value without what an editor or a secret file leaves at its end. Of a password the line end
/// alone: spaces may be part of it.
fn trimmed<'t>(id: &str, text: &'t str) -> &'t str {
    if id == "db_password" { text.trim_end_matches(['\r', '\n']) } else { text.trim() }
}

/// What clap says, without the lines about its usage.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let text: Vec<&str> = text.lines().map(str::trim).collect();
    text.join(" ").trim_start_matches("error: ").to_owned()
}

/// By what a setting is set, as its owner calls it.
fn name_of(
    command: &Command,
    matches: &ArgMatches,
    set: &BTreeMap<String, String>,
    id: &str,
) -> String {
    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
    let by_line = matches.value_source(id) == Some(ValueSource::CommandLine);
    let variable = arg.and_then(Arg::get_env).and_then(|name| name.to_str());
    match variable {
        Some(variable) if set.contains_key(id) && !by_line => variable.to_owned(),
        _ => format!("--{}", arg.and_then(Arg::get_long).unwrap_or(id)),
    }
}

/// Name, value and origin of a setting.
fn shown(arg: &Arg, matches: &ArgMatches, set: &BTreeMap<String, String>) -> [String; 3] {
    let id = arg.get_id().as_str();
    let raw = matches.get_raw(id).and_then(|mut values| values.next());
    let value = match raw {
        None => "-".to_owned(),
        Some(_) if arg.is_hide_env_values_set() => "***".to_owned(),
        Some(value) => value.to_string_lossy().into_owned(),
    };
    let origin = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "command line",
        _ if set.contains_key(id) => "environment",
        _ => "default",
    };
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    let name = variable.unwrap_or_else(|| format!("--{}", arg.get_long().unwrap_or(id)));
    [name, value, origin.to_owned()]
}

/// Which parts of a database are set, whether or not they say anything.
fn parts(settings: &Settings) -> Vec<&'static str> {
    let Settings { db_host, db_port, db_user, db_password, db_name, .. } = settings;
    [
        ("db_host", db_host.is_some()),
        ("db_port", db_port.is_some()),
        ("db_user", db_user.is_some()),
        ("db_password", db_password.is_some()),
        ("db_name", db_name.is_some()),
    ]
    .into_iter()
    .filter_map(|(part, set)| set.then_some(part))
    .collect()
}

/// Parts of a database, and no host to look for it at: log and ledger would be in a file, and
/// nobody would know.
fn homeless(settings: &Settings, named: &impl Fn(&str) -> String) -> Option<String> {
    let named_at_all = settings.database_url.is_some() || settings.db_host.is_some();
    let parts: Vec<String> = parts(settings).into_iter().map(named).collect();
    (!named_at_all && !parts.is_empty()).then(|| {
        let parts = parts.join(", ");
        format!("{parts}: for which database? PMMDS_DB_HOST is not set; it may be localhost")
    })
}

/// Whether the model has as many features as are asked for.
fn features(settings: &Settings) -> Outcome<()> {
    let mut asked = DriftSettings::default();
    asked.min_drift_features = settings.min_drift_features;
    Ok(DriftDetector::new(asked)?.check_features(telco::schema()?.len())?)
}

/// Everything that cannot be, each with the setting that it is about. `serves`: whether a service
/// is to be started.
fn problems_of(settings: &Settings, serves: bool) -> Vec<(&'static str, String)> {
    fn why<T>(result: Outcome<T>) -> Option<String> {
        result.err().map(|error| error.to_string())
    }
    let drift = |set: &dyn Fn(&mut DriftSettings)| {
        // The others as usual: each is told.
        let mut one = DriftSettings::default();
        set(&mut one);
        DriftDetector::new(one).err().map(|error| error.to_string())
    };
    let short = |token: &Secret| token.reveal().trim().chars().count() < TOKEN_CHARS;
    let short = settings.admin_token.as_ref().is_some_and(short);
    let host = settings.host;
    let open = serves && !host.to_canonical().is_loopback() && settings.admin_token.is_none();
    let nowhere = settings.db_host.as_ref().is_some_and(String::is_empty);
    let url = settings.database_url.as_ref().and_then(|_| settings.postgres());
    [
        ("mlflow_uri", why(settings.mlflow())),
        ("database_url", url.and_then(|postgres| why(postgres.target().map_err(Into::into)))),
        ("db_host", nowhere.then(|| "is empty".to_owned())),
        ("admin_token", short.then(|| format!("is shorter than {TOKEN_CHARS} characters"))),
        ("host", open.then(|| format!("{host} is open to others, which takes an admin token"))),
        ("alert_webhook_url", why(settings.webhook())),
        (settings.traces_said_by(), why(settings.traces())),
        ("psi_threshold", drift(&|it| it.psi_threshold = settings.psi_threshold)),
        (
            "prediction_psi_threshold",
            drift(&|it| it.prediction_psi_threshold = settings.prediction_psi_threshold),
        ),
        (
            "min_drift_features",
            drift(&|it| it.min_drift_features = settings.min_drift_features)
                .or_else(|| why(features(settings))),
        ),
        ("min_samples", drift(&|it| it.min_rows = settings.min_samples)),
    ]
    .into_iter()
    .filter_map(|(setting, why)| Some((setting, why?)))
    .collect()
}
