//! [`Place`]: where settings come from, as the command line says.

use std::path::PathBuf;

use clap::Args;

use crate::settings::Settings;

/// Where settings come from; understood before and after any command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// Configuration file in Kong's syntax.
    #[arg(short = 'c', long, value_name = "FILE", global = true)]
    pub(crate) conf: Option<PathBuf>,
    /// Folder for state, keys, certificates and logs.
    #[arg(short = 'p', long, value_name = "FOLDER", global = true)]
    pub(crate) prefix: Option<String>,
    /// More output.
    #[arg(long = "v", global = true)]
    pub(super) verbose: bool,
    /// Even more.
    #[arg(long = "vv", global = true)]
    pub(super) debug: bool,
    /// Kong's NGINX template; ignored, there is no NGINX.
    #[arg(long, value_name = "FILE", hide = true, global = true)]
    nginx_conf: Option<PathBuf>,
    /// Options of NGINX; ignored.
    #[arg(long, value_name = "FLAGS", hide = true, global = true)]
    nginx_conf_flags: Option<String>,
}

impl Place {
    /// Reads the settings, telling the operator what has no effect.
    ///
    /// # Errors
    ///
    /// Every fault, a line each.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        for (name, given) in [
            ("--nginx-conf", self.nginx_conf.is_some()),
            ("--nginx-conf-flags", self.nginx_conf_flags.is_some()),
        ] {
            if given {
                eprintln!("notice: {name} has no effect, there is no NGINX");
            }
        }
        let (settings, notices) = Settings::load(self.conf.as_deref(), variables(), &self.given())
            .map_err(|faults| anyhow::anyhow!("{faults}"))?;
        for notice in notices {
            eprintln!("notice: {notice}");
        }
        Ok(settings)
    }

    /// The prefix alone: enough to find a running gateway, whatever became of the settings.
    ///
    /// # Errors
    ///
    /// A configuration file that is named and not there.
    pub(crate) fn prefix(&self) -> anyhow::Result<PathBuf> {
        Settings::prefix(self.conf.as_deref(), variables(), &self.given())
            .map_err(|faults| anyhow::anyhow!("{faults}"))
    }

    /// The words that say the same to another process of this program.
    pub(crate) fn words(&self) -> Vec<std::ffi::OsString> {
        let mut words = Vec::new();
        if let Some(file) = &self.conf {
            words.extend(["-c".into(), file.into()]);
        }
        if let Some(prefix) = &self.prefix {
            words.extend(["-p".into(), prefix.into()]);
        }
        words.extend(self.verbose.then(|| "--v".into()));
        words.extend(self.debug.then(|| "--vv".into()));
        words
    }

    fn given(&self) -> Vec<(String, String)> {
        let mut given = Vec::new();
        if let Some(prefix) = &self.prefix {
            given.push(("prefix".to_owned(), prefix.clone()));
        }
        if self.debug {
            given.push(("log_level".to_owned(), "debug".to_owned()));
        } else if self.verbose {
            given.push(("log_level".to_owned(), "info".to_owned()));
        }
        given
    }
}

/// The environment; what is no text names no key of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
