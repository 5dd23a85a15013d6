//! The whole system on one machine: train, serve, validate, predict, log, watch, alert, retrain,
//! promote, reload.
//!
//! Nothing has to be started first. Without a subcommand it tells the whole story on the real Telco
//! churn data, in a fresh folder, checks every claim it prints, and exits with 0 only if all hold:
//!
//! ```text
//! cargo run --release --example full_stack
//! ```
//!
//! The subcommands are the original system's, on a folder that lasts (`.pmmds`); `--help` lists
//! them.

/// Prints a line; a reader that has gone away, such as `head`, ends the program quietly.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        if let Err(error) = writeln!(std::io::stdout(), $($part)*) {
            let gone = error.kind() == std::io::ErrorKind::BrokenPipe;
            std::process::exit(if gone { 0 } else { i32::from($crate::EXIT_ERROR) });
        }
    }};
}

mod client;
mod commands;
mod configuration;
mod data;
mod operations;
mod origin;
mod schedule;
mod settings;
mod state;
mod story;
mod telco;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use pmmds::schedule::Schedule;

use configuration::Configuration;
use settings::Settings;
use telemetry::Telemetry;

/// A result whose error is for a person.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Exit code of an error, for schedulers: 0 is stable, 1 drift, 3 insufficient data.
const EXIT_ERROR: u8 = 2;

/// The whole system on one machine, on the Telco churn data.
///
/// Without a subcommand: the whole story, from the first training to the promotion of version 2,
/// every claim checked.
#[derive(Debug, Parser)]
#[command(name = "full_stack", version)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show what every setting is, and where it comes from; secrets as ***
    Config,
    /// Download the Telco churn data
    DownloadData,
    /// Train the first model and put it into production
    Train,
    /// Serve predictions over HTTP, and monitor by schedule, until Ctrl-C
    Serve {
        /// Monitor this often, whatever the settings say, such as 15m
        #[arg(long, value_name = "LENGTH", value_parser = schedule::every)]
        every: Option<Schedule>,
        /// Monitor by this cron expression, in UTC or the time zone that comes sixth, such as
        /// "0 6-18 * * MON-FRI Europe/Berlin"
        #[arg(long, value_name = "EXPRESSION", value_parser = schedule::cron,
              conflicts_with = "every")]
        cron: Option<Schedule>,
    },
    /// Send real customers to the service, and then what became of them
    SeedTraffic {
        /// Requests to send
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// Send customers of a fibre campaign, unlike those the model was trained on
        #[arg(long)]
        drift: bool,
        /// The service [default: http://HOST:PORT]
        #[arg(long)]
        url: Option<String>,
        /// Seconds between requests
        #[arg(long, default_value_t = 0.0)]
        delay: f64,
        /// Keep back what became of the customers, which retraining needs
        #[arg(long)]
        no_outcomes: bool,
    },
    /// Compare the last hours with the profile; exits 0 stable, 1 drift, 2 error, 3 no verdict
    Monitor {
        /// Look at the newest slot of this length that is over, such as 1h, once for all processes
        /// on one database; what is logged later is not in it
        #[arg(long, value_name = "LENGTH", value_parser = schedule::length)]
        slot: Option<Duration>,
        /// Monitor this often until Ctrl-C, such as 1h, once for all processes on one database, and
        /// retrain and promote if that asks for it
        #[arg(long, value_name = "LENGTH", value_parser = schedule::every,
              conflicts_with = "slot")]
        every: Option<Schedule>,
        /// The same by a cron expression, in UTC or the time zone that comes sixth
        #[arg(long, value_name = "EXPRESSION", value_parser = schedule::cron,
              conflicts_with_all = ["slot", "every"])]
        cron: Option<Schedule>,
        /// Only print the runs, alerts and slots on record
        #[arg(long, conflicts_with_all = ["slot", "every", "cron"])]
        summary: bool,
    },
    /// Retrain if there is a drift alert, compare with the champion, promote if better
    Retrain {
        /// Retrain without an alert
        #[arg(long)]
        force: bool,
        /// Only print the promotion decisions on record
        #[arg(long)]
        decisions: bool,
    },
    /// Put the version before the present one back into production
    Rollback {
        /// Why, for the record
        #[arg(long, default_value = "asked for by hand")]
        reason: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let configuration = match Configuration::read() {
        Ok(configuration) => configuration,
        Err(problems) => {
            eprintln!("error: {problems}");
            return ExitCode::from(EXIT_ERROR);
        }
    };
    let Arguments { settings, command } = &configuration.arguments;
    let telemetry = match Telemetry::start(settings) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("error: traces cannot be sent: {error}");
            return ExitCode::from(EXIT_ERROR);
        }
    };
    for warning in &configuration.warnings {
        tracing::warn!("{warning}");
    }
    let result = match command {
        Some(Command::Config) => configuration.show(),
        _ => run(settings.clone(), command.clone()).await,
    };
    telemetry.end();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::from(EXIT_ERROR)
        }
    }
}

async fn run(settings: Settings, command: Option<Command>) -> Outcome<ExitCode> {
    match command {
        None | Some(Command::Config) => story::tell(&settings).await,
        Some(Command::DownloadData) => commands::download_data(&settings).await,
        Some(Command::Train) => commands::train(&settings).await,
        Some(Command::Serve { every, cron }) => commands::serve(&settings, every.or(cron)).await,
        Some(Command::SeedTraffic { count, drift, url, delay, no_outcomes }) => {
            let delay = Duration::try_from_secs_f64(delay)?;
            let traffic = commands::Traffic { count, drift, url, delay, outcomes: !no_outcomes };
            commands::seed_traffic(&settings, traffic).await
        }
        Some(Command::Monitor { summary: true, .. }) => commands::monitor_summary(&settings).await,
        Some(Command::Monitor { slot, every, cron, .. }) => match every.or(cron) {
            Some(schedule) => commands::watch(&settings, schedule).await,
            None => commands::monitor(&settings, slot).await,
        },
        Some(Command::Retrain { decisions: true, .. }) => commands::decisions(&settings).await,
        Some(Command::Retrain { force, .. }) => commands::retrain(&settings, force).await,
        Some(Command::Rollback { reason }) => commands::rollback(&settings, &reason).await,
    }
}
