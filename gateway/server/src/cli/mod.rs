//! The command line: Kong's commands with their flags, words and exit codes (kong/cmd), and `demo`.
//!
//! Under the name `kong` (a symbolic link) the program is what unit files and containers made for
//! Kong expect: without a command it explains itself instead of serving.

mod place;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::wire::edgegallery;
use crate::wire::migrations::{self, Task};
use crate::wire::offline;
use crate::{backup, daemon, demo, reference, wire};

pub(crate) use place::Place;

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
    Run,
    /// Serve in the background; returns when the gateway is ready.
    Start(Launch),
    /// Stop a gateway started with this prefix: requests in flight are finished.
    Stop,
    /// As stop, with a limit to the time it takes.
    Quit {
        /// Seconds for requests in flight; what is left then is cut off.
        #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
        timeout: u64,
        /// Seconds to wait before that.
        #[arg(short, long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// Read certificate files, the hosts file and the declarative file again.
    Reload,
    /// Put a new binary in the place of a running gateway without refusing a connection.
    Upgrade,
    /// Stop a running gateway and start it again.
    Restart(Launch),
    /// Make the prefix folder and what a first start needs in it.
    Prepare,
    /// Prepare and serve in the foreground, as the entry point of containers has it.
    #[command(hide = true)]
    DockerStart(Launch),
    /// Work with declarative files.
    #[command(subcommand)]
    Config(Config),
    /// Tell about the plugins there are.
    #[command(subcommand)]
    Plugins(Plugins),
    /// Care for the schema of a PostgreSQL store.
    Migrations(Migrations),
    /// Save state, keys and certificates to a new folder; the gateway may be running.
    Backup {
        /// The folder to make.
        folder: PathBuf,
    },
    /// Put a backup in place of what the prefix holds, which is kept beside it.
    Restore {
        /// The folder `backup` made.
        folder: PathBuf,
    },
    /// Take over what another installation left.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Work with references to vaults.
    #[command(subcommand)]
    Vault(Vault),
    /// Print completions for a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command to a folder.
    Man {
        /// The folder, which must exist: `/usr/local/share/man/man1`.
        folder: Option<PathBuf>,
    },
    /// Tell whether the gateway of this prefix runs.
    Health {
        /// Ask its status listener too, where that has a port and no TLS.
        #[arg(long)]
        ask: bool,
    },
    /// Check a configuration file and report every fault with its place.
    Check {
        /// The file; without it, what `run` would read.
        file: Option<PathBuf>,
    },
    /// Print the version.
    Version {
        /// Of every part.
        #[arg(short, long)]
        all: bool,
    },
    /// Run the main job step by step and show every request and reply.
    Demo(demo::Demo),
}

#[derive(Debug, Subcommand)]
enum Migrate {
    /// The AK/SK table of EdgeGallery's mepauth, from its PostgreSQL.
    Edgegallery(edgegallery::Original),
}

#[derive(Debug, Subcommand)]
enum Plugins {
    /// Print the reference of every plugin, or of one, as Markdown.
    Docs {
        /// The name of one.
        name: Option<String>,
    },
}

/// Before it serves.
#[derive(Args, Clone, Copy, Debug)]
struct Launch {
    /// Do the migrations that are missing in a PostgreSQL store first.
    #[arg(long)]
    run_migrations: bool,
    #[command(flatten)]
    patience: Patience,
}

/// How long a database may take.
#[derive(Args, Clone, Copy, Debug)]
struct Patience {
    /// Seconds a statement may take.
    #[arg(long, value_name = "SECONDS", hide = true)]
    db_timeout: Option<u64>,
    /// Seconds to wait for another process that migrates.
    #[arg(long, value_name = "SECONDS", hide = true)]
    lock_timeout: Option<u64>,
}

impl Patience {
    /// One limit for both: waiting for the other process is a statement of ours.
    fn limit(self) -> Option<Duration> {
        self.db_timeout.max(self.lock_timeout).map(Duration::from_secs)
    }
}

#[derive(Args, Debug)]
struct Migrations {
    #[command(subcommand)]
    task: MigrationsTask,
    /// Do not ask.
    #[arg(short, long, global = true)]
    yes: bool,
    /// Say nothing.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Accepted; no migration can be done twice.
    #[arg(short, long, global = true, hide = true)]
    force: bool,
    /// Seconds a statement may take.
    #[arg(long, value_name = "SECONDS", hide = true, global = true)]
    db_timeout: Option<u64>,
    /// Seconds to wait for another process that migrates.
    #[arg(long, value_name = "SECONDS", hide = true, global = true)]
    lock_timeout: Option<u64>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum MigrationsTask {
    /// Make the schema.
    Bootstrap,
    /// Do what later versions added.
    Up,
    /// Do what is left of an upgrade.
    Finish,
    /// Tell what was done.
    List,
    /// As list, as JSON.
    Status,
    /// Remove the schema with everything in it.
    Reset,
}

impl Migrations {
    fn run(self, place: &Place) -> Result<ExitCode> {
        let task = match self.task {
            MigrationsTask::Bootstrap => Task::Bootstrap,
            MigrationsTask::Up => Task::Up,
            MigrationsTask::Finish => Task::Finish,
            MigrationsTask::List => Task::List,
            MigrationsTask::Status => Task::Status,
            MigrationsTask::Reset if !self.yes && !confirmed() => {
                println!("cancelled");
                return Ok(ExitCode::SUCCESS);
            }
            MigrationsTask::Reset => Task::Reset,
        };
        let patience = Patience { db_timeout: self.db_timeout, lock_timeout: self.lock_timeout };
        migrations::run(&place.settings()?, task, patience.limit(), self.quiet)
    }
}

/// Whether whoever sits there means it.
fn confirmed() -> bool {
    use std::io::Write as _;
    print!("> Are you sure? This operation is irreversible. [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok()
        && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
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
    },
    /// Write what the store holds to a declarative file.
    #[command(name = "db_export", alias = "export")]
    Export {
        /// The file to write.
        #[arg(default_value = "kong.yml")]
        file: PathBuf,
    },
    /// Create and replace what a declarative file holds, in the store.
    #[command(name = "db_import", alias = "import")]
    Import {
        /// The file.
        file: PathBuf,
    },
}

impl Config {
    fn run(self, place: &Place) -> Result<()> {
        match self {
            Self::Init { file } => offline::init(&file),
            Self::Parse { file } => offline::parse(&place.settings()?, &file),
            Self::Export { file } => offline::export(&place.settings()?, &file),
            Self::Import { file } => offline::import(&place.settings()?, &file),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Vault {
    /// Print the value a reference stands for.
    Get {
        /// `env/name`, or the same as it stands in a configuration: `{vault://env/name}`.
        reference: String,
    },
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let as_kong = Path::new(&called).file_stem() == Some(OsStr::new("kong"));
    let mut command = Cli::command();
    if as_kong {
        command = command.name("kong").bin_name("kong");
    }
    let parsed = command.clone().try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(usage) => return explain(&usage, &mut command),
    };
    let Some(todo) = cli.command.or_else(|| (!as_kong).then_some(Command::Run)) else {
        let _ = command.print_help();
        return ExitCode::FAILURE;
    };
    match todo.run(&cli.place) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}\n");
            eprintln!("  Run with --v (verbose) or --vv (debug) for more details");
            ExitCode::FAILURE
        }
    }
}

/// Help that was asked for, and what is wrong with a command line.
fn explain(usage: &clap::Error, command: &mut clap::Command) -> ExitCode {
    if usage.kind() == ErrorKind::InvalidSubcommand {
        let name = usage.get(ContextKind::InvalidSubcommand).map(ToString::to_string);
        eprintln!("{}\nNo such command: {}", command.render_help(), name.unwrap_or_default());
        return ExitCode::FAILURE;
    }
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Command {
    fn run(self, place: &Place) -> Result<ExitCode> {
        match self {
            Self::Run => wire::run(place.settings()?)?,
            Self::Start(launch) => {
                launch.migrate(place)?;
                daemon::start(place)?;
            }
            Self::Stop => daemon::stop(place, "Kong stopped")?,
            Self::Quit { timeout, wait } => {
                daemon::quit(place, Duration::from_secs(wait), Duration::from_secs(timeout))?;
            }
            Self::Reload => daemon::reload(place)?,
            Self::Upgrade => daemon::upgrade(place)?,
            Self::Restart(launch) => {
                launch.migrate(place)?;
                daemon::restart(place)?;
            }
            Self::Prepare => wire::prepare(&place.settings()?)?,
            Self::DockerStart(launch) => {
                launch.migrate(place)?;
                let settings = place.settings()?;
                wire::prepare(&settings)?;
                wire::run(settings)?;
            }
            Self::Config(config) => config.run(place)?,
            Self::Plugins(Plugins::Docs { name }) => docs(name.as_deref())?,
            Self::Migrations(migrations) => return migrations.run(place),
            Self::Backup { folder } => backup::backup(&place.settings()?, &folder)?,
            Self::Restore { folder } => backup::restore(&place.settings()?, &folder)?,
            Self::Migrate(Migrate::Edgegallery(original)) => {
                return edgegallery::migrate(&place.settings()?, &original);
            }
            Self::Vault(Vault::Get { reference }) => {
                println!("{}", offline::vault(&place.settings()?, &reference)?);
            }
            Self::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "gateway", &mut text);
                print(&text);
            }
            Self::Man { folder } => man(folder.as_deref())?,
            Self::Health { ask } => daemon::health(place, ask)?,
            Self::Check { file } => check(file, place.clone())?,
            Self::Version { all: false } => println!("{}", plugins::KONG_VERSION),
            Self::Version { all: true } => {
                println!("Kong: {}", plugins::KONG_VERSION);
                println!("gateway: {}", env!("CARGO_PKG_VERSION"));
            }
            Self::Demo(demo) => demo.run(place)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Launch {
    fn migrate(self, place: &Place) -> Result<()> {
        if self.run_migrations {
            migrations::run(&place.settings()?, Task::Up, self.patience.limit(), true)?;
        }
        Ok(())
    }
}

/// When the text of the manual pages was last changed.
const MANUAL_OF: &str = "2026-11-28";

/// Prints the manual page, or writes all of them.
fn man(folder: Option<&Path>) -> Result<()> {
    let mut command = Cli::command();
    let Some(folder) = folder else {
        let mut text = Vec::new();
        page(command).render(&mut text)?;
        print(&text);
        return Ok(());
    };
    // Not a page for `help` and every command it explains.
    command = command.disable_help_subcommand(true);
    command.build();
    pages(command, folder).with_context(|| format!("writing manual pages to {}", folder.display()))
}

/// Writes the page of a command, and those of the commands below it.
fn pages(command: clap::Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below.clone(), folder)?;
    }
    page(command).generate_to(folder).map(drop)
}

fn page(command: clap::Command) -> clap_mangen::Man {
    let version = concat!("gateway ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command).date(MANUAL_OF).source(version).manual("MEP gateway")
}

/// Prints the reference of the plugins.
fn docs(name: Option<&str>) -> Result<()> {
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

fn check(file: Option<PathBuf>, mut place: Place) -> Result<()> {
    place.conf = file.or(place.conf);
    place.settings()?;
    match &place.conf {
        Some(file) => println!("configuration at {} is valid", file.display()),
        None => println!("configuration is valid"),
    }
    Ok(())
}
