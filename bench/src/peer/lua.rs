//! nginx with the Lua module, and a guard written for it by hand: what a specialist would deploy.

use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::nginx::{self, Parts};
use super::{Guard, LIMIT, Peer, Start};

/// The module `guard`: verification by OpenSSL, a cache of verified tokens, a counter.
const GUARD: &str = include_str!("guard.lua");
const MODULES: &str =
    "load_module modules/ndk_http_module.so;\nload_module modules/ngx_http_lua_module.so;";

pub(super) struct Lua;

impl Peer for Lua {
    fn name(&self) -> &str {
        "nginx+lua"
    }

    fn version(&self) -> Result<String, String> {
        let missing = || "apt-get install libnginx-mod-http-lua lua-cjson".to_owned();
        let version = nginx::version().ok_or_else(missing)?;
        can_load().map_err(|_| missing()).map(|()| version)
    }

    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let mut parts = Parts { main: modules()?, ..Parts::default() };
        if let Some(Guard { public_key, .. }) = &start.setup.guard {
            start.write("guard.lua", GUARD)?;
            parts.http = format!(
                "lua_package_path \"{folder}/?.lua;;\";
    lua_shared_dict counters 10m;
    init_by_lua_block {{ require(\"guard\").init(\"{key}\", {LIMIT}) }}",
                folder = start.folder.display(),
                key = public_key.display(),
            );
            parts.server = "access_by_lua_block { require(\"guard\").check() }".to_owned();
        }
        nginx::command(start, &parts)
    }
}

/// Modules by their full path, for nginx looks for others below its prefix.
fn modules() -> Result<String> {
    let word = "--modules-path=";
    let line = super::said(Path::new("nginx"), "-V", word).unwrap_or_default();
    let path = line.split_whitespace().find_map(|one| one.strip_prefix(word));
    let path = path.unwrap_or("/usr/lib/nginx/modules");
    Ok(MODULES.replace("modules/", &format!("{path}/")))
}

/// Has nginx try the modules and the libraries the guard needs.
fn can_load() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("nginx.conf");
    let try_it = format!(
        "{}\nerror_log stderr;\npid {}/pid;\nevents {{}}\nhttp {{ init_by_lua_block {{ \
         require \"cjson.safe\" require \"resty.lrucache\" require \"ngx.base64\" }} }}\n",
        modules()?,
        folder.path().display(),
    );
    std::fs::write(&file, try_it)?;
    let told = std::process::Command::new("nginx")
        .args(["-t", "-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .output()?;
    let said = String::from_utf8_lossy(&told.stderr);
    anyhow::ensure!(told.status.success() && !said.contains("failed to load"), "{said}");
    Ok(())
}
