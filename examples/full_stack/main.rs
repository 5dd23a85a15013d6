//! Loads the example's data and says where it comes from.

mod data;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::ProgressBar;

#[derive(Debug, Parser)]
struct Arguments {
    /// A Telco CSV file to use instead of the download.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Where the download is kept.
    #[arg(long, value_name = "DIR", default_value = "target/pmmds-data")]
    cache: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download IBM's Telco file into the cache.
    DownloadData,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = ProgressBar::no_length();
    let result = match arguments.command {
        Some(Command::DownloadData) => data::download(&arguments.cache, &progress).await,
        None => data::load(arguments.data.as_deref(), &arguments.cache, &progress).await,
    };
    match result {
        Ok(csv) => {
            println!("{csv}");
            if arguments.command.is_some() {
                println!("      kept as {}", data::cache_path(&arguments.cache).display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            let cause = std::error::Error::source(&error);
            for cause in std::iter::successors(cause, |e| e.source()) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
