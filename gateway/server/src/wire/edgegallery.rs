//! `migrate edgegallery`: the key pairs of an EdgeGallery installation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use gateway_control::store::postgres::foreign;
use mep::auth::import::{OriginalInstallation, OriginalRow};
use mep::migration::Migration;
use serde_json::Value;

use super::offline::{block_on, control, known};
use super::store;
use crate::settings::Settings;
use crate::settings::original::Properties;
use crate::settings::store::Database;
use crate::{daemon, startup};

/// What an installation left.
#[derive(clap::Args, Debug)]
pub(crate) struct Original {
    /// Its database: postgres://USER@HOST:PORT/DATABASE (the password also as PGPASSWORD).
    #[arg(long, value_name = "URL")]
    from: String,
    /// The folder of mepauth with `cprop`, `sprop`, `wprop` and `wnprop`.
    #[arg(long, value_name = "FOLDER")]
    keys: PathBuf,
    /// Its `mepauth.properties`; without it, the file `mep_properties` names.
    #[arg(long, value_name = "FILE")]
    properties: Option<PathBuf>,
    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,
}

const QUERY: &str =
    "SELECT row_to_json(record)::text FROM auth_info_record AS record ORDER BY app_ins_id";
const PATIENCE: Duration = Duration::from_secs(30);

/// Some rows were left out.
const INCOMPLETE: u8 = 2;

/// Takes over every key pair that can be, in one change, and tells what became of each row.
///
/// # Errors
///
/// What keeps all of it from being done. Rows that are left out are no error: the exit status is 2
/// then.
pub(crate) fn migrate(settings: &Settings, original: &Original) -> Result<ExitCode> {
    ensure!(settings.store.database != Database::Off, "without a database nothing can be kept");
    let prefix = &settings.process.prefix;
    startup::folders(settings)?;
    let alone = settings.store.database == Database::Sqlite && !original.dry_run;
    let claim = alone.then(|| daemon::claim(prefix)).transpose();
    let _claim = claim.context("stop the gateway first")?;
    let component = component(settings, original)?;
    let installation = OriginalInstallation::open(&original.keys, component.expose().as_bytes())
        .with_context(|| format!("the key material in {}", original.keys.display()))?;
    let plan = block_on(async {
        let rows = foreign::read(&original.from, QUERY, PATIENCE)
            .await
            .map_err(|why| anyhow!(why.in_full()))?;
        let rows: Vec<OriginalRow> = rows
            .into_iter()
            .map(|row| serde_json::from_value(Value::Object(row)))
            .collect::<Result<_, _>>()
            .context("a row of auth_info_record")?;
        let sealing = startup::sealing_key(settings)?;
        let registry = Arc::new(known(settings)?);
        let store = store::open(settings, &registry, &sealing).await?.store;
        let control = control(settings, store).await?;
        let allow = settings.mep.tokens.allow_default_credentials;
        let plan = Migration::plan(&control.catalog(), &installation, &rows, &sealing, allow);
        if !original.dry_run && !plan.changes.is_empty() {
            control.apply(plan.changes.clone()).await?;
        }
        control.close().await;
        anyhow::Ok(plan)
    })?;
    tell(&plan, original.dry_run);
    Ok(if plan.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn component(settings: &Settings, original: &Original) -> Result<gateway_model::Secret<String>> {
    let Some(file) = &original.properties else {
        let configured = settings.mep.bootstrap.as_ref();
        let configured = configured.map(|properties| properties.key_component.clone());
        return configured.context("mepauth.properties is needed: --properties, or mep_properties");
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    // What was published protects nothing, but opens what it closed.
    let properties = Properties::parse(&text, true).map_err(|refusals| {
        let told = refusals.iter().map(|refusal| refusal.text.as_str());
        anyhow!("{}: {}", file.display(), told.collect::<Vec<_>>().join("; "))
    })?;
    Ok(properties.key_component)
}

fn tell(plan: &Migration, dry_run: bool) {
    let taken = if dry_run { "would be taken over" } else { "taken over" };
    for id in &plan.taken {
        println!("{id}: {taken}");
    }
    for id in &plan.present {
        println!("{id}: is here already");
    }
    for (id, why) in &plan.left_out {
        eprintln!("{id}: left out: {why}");
    }
    println!(
        "{} {taken}, {} here already, {} left out",
        plan.taken.len(),
        plan.present.len(),
        plan.left_out.len()
    );
}
