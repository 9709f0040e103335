//! `migrations …`: the schema of a PostgreSQL store, in Kong's words (kong/cmd/migrations.lua).

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use gateway_control::store::postgres::Options;
use gateway_control::store::postgres::migrations::{self, Migration, Status};

use super::{offline, store};
use crate::settings::Settings;
use crate::settings::store::Database;

/// What to do with the schema.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Make it.
    Bootstrap,
    /// Do what later versions added.
    Up,
    /// Do what is left of an upgrade: nothing, ours have one phase.
    Finish,
    /// Tell what was done.
    List,
    /// As list, as JSON.
    Status,
    /// Remove it with everything in it.
    Reset,
}

/// Does it.
///
/// # Errors
///
/// What PostgreSQL says; a schema that was never made; a store that has no schema to care for.
pub(crate) fn run(
    settings: &Settings,
    task: Task,
    limit: Option<Duration>,
    quiet: bool,
) -> Result<ExitCode> {
    match settings.store.database {
        Database::Postgres => {
            let mut options = store::postgres(settings);
            options.timeout = limit.unwrap_or(options.timeout);
            offline::block_on(work(&options, task, &Voice { quiet }))
        }
        Database::Sqlite => {
            // The embedded store makes and upgrades its own file.
            Voice { quiet }.say("Database is already up-to-date");
            Ok(ExitCode::SUCCESS)
        }
        Database::Off => bail!("'migrations' only work with a database"),
    }
}

/// Codes of `migrations list` (kong/cmd/migrations.lua).
const NEEDS_BOOTSTRAP: u8 = 3;
const HAS_NEW: u8 = 5;

/// What is told on the way; what was asked for is told in any case.
struct Voice {
    quiet: bool,
}

impl Voice {
    fn say(&self, text: &str) {
        if !self.quiet {
            println!("{text}");
        }
    }
}

async fn work(options: &Options, task: Task, voice: &Voice) -> Result<ExitCode> {
    match task {
        Task::Bootstrap => {
            let done = migrations::bootstrap(options).await?;
            if done.is_empty() {
                voice.say("Database already bootstrapped");
                return Ok(ExitCode::SUCCESS);
            }
            voice.say("Bootstrapping database...");
            told(&done, voice);
        }
        Task::Up => {
            ensure!(migrations::status(options).await? != Status::Empty, store::UNBOOTSTRAPPED);
            let done = migrations::up(options).await?;
            if done.is_empty() {
                voice.say("Database is already up-to-date");
                return Ok(ExitCode::SUCCESS);
            }
            told(&done, voice);
        }
        Task::Finish => {
            ensure!(migrations::status(options).await? != Status::Empty, store::UNBOOTSTRAPPED);
            voice.say("No pending migrations to finish");
        }
        Task::List => {
            if migrations::status(options).await? == Status::Empty {
                println!("{}", store::UNBOOTSTRAPPED);
                return Ok(ExitCode::from(NEEDS_BOOTSTRAP));
            }
            let all = migrations::list(options).await?;
            println!("Executed migrations:");
            for migration in all.iter().filter(|one| one.applied_at.is_some()) {
                println!("core: {:03}_{}", migration.version, migration.name);
            }
            if all.iter().any(|one| one.applied_at.is_none()) {
                println!("\nNew migrations available:\nRun 'kong migrations up' to proceed");
                return Ok(ExitCode::from(HAS_NEW));
            }
        }
        Task::Status => {
            let needs = migrations::status(options).await?;
            let all = migrations::list(options).await?;
            let names = |done: bool| -> Vec<String> {
                let picked = all.iter().filter(|one| one.applied_at.is_some() == done);
                picked.map(|one| format!("{:03}_{}", one.version, one.name)).collect()
            };
            let shown = serde_json::json!({
                "needs_bootstrap": needs == Status::Empty,
                "executed_migrations": names(true),
                "new_migrations": names(false),
            });
            println!("{shown:#}");
        }
        Task::Reset => {
            voice.say("Resetting database...");
            ensure!(
                migrations::reset(options).await?,
                "Database not bootstrapped, nothing to reset"
            );
            voice.say("Database successfully reset");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(done: &[Migration], voice: &Voice) {
    for migration in done {
        let Migration { version, name, .. } = migration;
        voice.say(&format!("core migrated up to: {version:03}_{name} (executed)"));
    }
    voice.say(&format!("{} migrations processed\nDatabase is up-to-date", done.len()));
}
