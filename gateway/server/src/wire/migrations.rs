//! `migrations …`: the schema of a PostgreSQL store, in Kong's words (kong/cmd/migrations.lua).

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
pub(crate) fn run(settings: &Settings, task: Task) -> Result<()> {
    match settings.store.database {
        Database::Postgres => {
            let options = store::postgres(settings);
            offline::block_on(work(&options, task))
        }
        Database::Sqlite => {
            // The embedded store makes and upgrades its own file.
            println!("Database is already up-to-date");
            Ok(())
        }
        Database::Off => bail!("'migrations' only work with a database"),
    }
}

async fn work(options: &Options, task: Task) -> Result<()> {
    match task {
        Task::Bootstrap => {
            let done = migrations::bootstrap(options).await?;
            if done.is_empty() {
                println!("Database already bootstrapped");
                return Ok(());
            }
            println!("Bootstrapping database...");
            told(&done);
        }
        Task::Up => {
            ensure!(migrations::status(options).await? != Status::Empty, store::UNBOOTSTRAPPED);
            let done = migrations::up(options).await?;
            if done.is_empty() {
                println!("Database is already up-to-date");
                return Ok(());
            }
            told(&done);
        }
        Task::Finish => println!("No pending migrations to finish"),
        Task::List => {
            ensure!(migrations::status(options).await? != Status::Empty, store::UNBOOTSTRAPPED);
            let all = migrations::list(options).await?;
            println!("Executed migrations:");
            for migration in all.iter().filter(|one| one.applied_at.is_some()) {
                println!("core: {:03}_{}", migration.version, migration.name);
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
            println!("Resetting database...");
            ensure!(
                migrations::reset(options).await?,
                "Database not bootstrapped, nothing to reset"
            );
            println!("Database successfully reset");
        }
    }
    Ok(())
}

fn told(done: &[Migration]) {
    for migration in done {
        println!("core migrated up to: {:03}_{} (executed)", migration.version, migration.name);
    }
    println!("{} migrations processed\nDatabase is up-to-date", done.len());
}
