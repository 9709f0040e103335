//! The command line: Kong's commands, and `demo`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::settings::Settings;
use crate::wire::migrations::{self, Task};
use crate::wire::offline;
use crate::{backup, daemon, demo, reference, wire};

/// A Kong-compatible API gateway with a MEC platform built in.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground (the default).
    Run(Place),
    /// Serve in the background; returns when the gateway is ready.
    Start(Place),
    /// Stop a gateway started with this prefix: requests in flight are finished.
    Stop(Place),
    /// As stop.
    Quit(Place),
    /// Read certificate files again.
    Reload(Place),
    /// Stop a running gateway and start it again.
    Restart(Place),
    /// Make the prefix folder and what a first start needs in it.
    Prepare(Place),
    /// Work with declarative files.
    #[command(subcommand)]
    Config(Config),
    /// Tell about the plugins there are.
    #[command(subcommand)]
    Plugins(Plugins),
    /// Care for the schema of a PostgreSQL store.
    #[command(subcommand)]
    Migrations(Migrations),
    /// Save state, keys and certificates to a new folder; the gateway may be running.
    Backup {
        /// The folder to make.
        folder: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Put a backup in place of what the prefix holds, which is kept beside it.
    Restore {
        /// The folder `backup` made.
        folder: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Print completions for a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Tell whether the gateway of this prefix runs.
    Health(Place),
    /// Check a configuration file and report every fault with its place.
    Check {
        /// The file; without it, what `run` would read.
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the version.
    Version,
    /// Run the main job step by step and show every request and reply.
    Demo(demo::Demo),
}

#[derive(Debug, Subcommand)]
enum Plugins {
    /// Print the reference of every plugin, or of one, as Markdown.
    Docs {
        /// The name of one.
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Migrations {
    /// Make the schema.
    Bootstrap(Place),
    /// Do what later versions added.
    Up(Place),
    /// Do what is left of an upgrade.
    Finish(Place),
    /// Tell what was done.
    List(Place),
    /// As list, as JSON.
    Status(Place),
    /// Remove the schema with everything in it.
    Reset {
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

impl Migrations {
    fn run(self, outer: Place) -> anyhow::Result<()> {
        let (place, task) = match self {
            Self::Bootstrap(place) => (place, Task::Bootstrap),
            Self::Up(place) => (place, Task::Up),
            Self::Finish(place) => (place, Task::Finish),
            Self::List(place) => (place, Task::List),
            Self::Status(place) => (place, Task::Status),
            Self::Reset { yes, place } => {
                anyhow::ensure!(yes, "this removes everything; confirm with -y");
                (place, Task::Reset)
            }
        };
        migrations::run(&place.or(outer).settings()?, task)
    }
}

#[derive(Debug, Subcommand)]
enum Config {
    /// Write an example file.
    Init {
        /// The file to write.
        #[arg(default_value = "kong.yml")]
        file: PathBuf,
    },
    /// Check a declarative file.
    Parse {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Write what the store holds to a declarative file.
    #[command(name = "db_export", alias = "export")]
    Export {
        /// The file to write.
        #[arg(default_value = "kong.yml")]
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Create and replace what a declarative file holds, in the store.
    #[command(name = "db_import", alias = "import")]
    Import {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

impl Config {
    fn run(self, outer: Place) -> anyhow::Result<()> {
        match self {
            Self::Init { file } => offline::init(&file),
            Self::Parse { file, place } => offline::parse(&place.or(outer).settings()?, &file),
            Self::Export { file, place } => offline::export(&place.or(outer).settings()?, &file),
            Self::Import { file, place } => offline::import(&place.or(outer).settings()?, &file),
        }
    }
}

/// Where settings come from; understood before and after the command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// Configuration file in Kong's syntax.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) conf: Option<PathBuf>,
    /// Folder for state, keys, certificates and logs.
    #[arg(short = 'p', long, value_name = "FOLDER")]
    pub(crate) prefix: Option<String>,
    /// Kong's NGINX template; ignored, there is no NGINX.
    #[arg(long, value_name = "FILE", hide = true)]
    nginx_conf: Option<PathBuf>,
    /// More output.
    #[arg(long = "v")]
    verbose: bool,
    /// Even more.
    #[arg(long = "vv")]
    debug: bool,
}

impl Place {
    fn or(self, outer: Self) -> Self {
        Self {
            conf: self.conf.or(outer.conf),
            prefix: self.prefix.or(outer.prefix),
            nginx_conf: self.nginx_conf.or(outer.nginx_conf),
            verbose: self.verbose || outer.verbose,
            debug: self.debug || outer.debug,
        }
    }

    /// Reads the settings, telling the operator what has no effect.
    ///
    /// # Errors
    ///
    /// Every fault, a line each.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let mut args = Vec::new();
        if let Some(prefix) = &self.prefix {
            args.push(("prefix".to_owned(), prefix.clone()));
        }
        if self.debug {
            args.push(("log_level".to_owned(), "debug".to_owned()));
        } else if self.verbose {
            args.push(("log_level".to_owned(), "info".to_owned()));
        }
        if self.nginx_conf.is_some() {
            eprintln!("notice: --nginx-conf has no effect, there is no NGINX");
        }
        let (settings, notices) = Settings::load(self.conf.as_deref(), std::env::vars(), &args)
            .map_err(|faults| anyhow::anyhow!("{faults}"))?;
        for notice in notices {
            eprintln!("notice: {notice}");
        }
        Ok(settings)
    }
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let outer = cli.place;
    let done = match cli.command.unwrap_or(Command::Run(Place::default())) {
        Command::Run(place) => place.or(outer).settings().and_then(wire::run),
        Command::Start(place) => daemon::start(&place.or(outer)),
        Command::Stop(place) => daemon::stop(&place.or(outer), "Kong stopped"),
        Command::Quit(place) => daemon::stop(&place.or(outer), "Kong stopped (gracefully)"),
        Command::Reload(place) => daemon::reload(&place.or(outer)),
        Command::Restart(place) => daemon::restart(&place.or(outer)),
        Command::Prepare(place) => place.or(outer).settings().and_then(|s| wire::prepare(&s)),
        Command::Config(config) => config.run(outer),
        Command::Plugins(Plugins::Docs { name }) => docs(name.as_deref()),
        Command::Migrations(migrations) => migrations.run(outer),
        Command::Backup { folder, place } => {
            place.or(outer).settings().and_then(|settings| backup::backup(&settings, &folder))
        }
        Command::Restore { folder, place } => {
            place.or(outer).settings().and_then(|settings| backup::restore(&settings, &folder))
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gateway", &mut text);
            print(&text);
            Ok(())
        }
        Command::Health(place) => daemon::health(&place.or(outer)),
        Command::Check { file, place } => check(file, place.or(outer)),
        Command::Version => {
            println!("{}", plugins::KONG_VERSION);
            Ok(())
        }
        Command::Demo(demo) => demo.run(&outer),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}\n");
            eprintln!("  Run with --v (verbose) or --vv (debug) for more details");
            ExitCode::FAILURE
        }
    }
}

/// Prints the reference of the plugins.
fn docs(name: Option<&str>) -> anyhow::Result<()> {
    let text = match name {
        None => reference::whole(),
        Some(name) => {
            let found = plugins::ALL.iter().find(|plugin| plugin.name == name);
            reference::one(found.with_context(|| format!("there is no plugin {name}"))?)
        }
    };
    print(text.as_bytes());
    Ok(())
}

/// A reader that has seen enough is no error.
fn print(text: &[u8]) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text);
}

fn check(file: Option<PathBuf>, mut place: Place) -> anyhow::Result<()> {
    place.conf = file.or(place.conf);
    place.settings()?;
    match &place.conf {
        Some(file) => println!("configuration at {} is valid", file.display()),
        None => println!("configuration is valid"),
    }
    Ok(())
}
