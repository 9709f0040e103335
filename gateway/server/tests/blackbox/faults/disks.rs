//! Disks that are full, and disks nobody may write to.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{lost, publish, status, write};
use crate::harness::{
    Answered as _, App, Gateway, Load, Options, Upstream, eventually, not_allowed, plain,
};

/// A file system of its own, in memory, over a folder; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one of this many MiB; `None` for users who may not mount.
    fn mount(folder: &Path, mebibytes: u32) -> Option<Self> {
        let size = format!("size={mebibytes}m,mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            not_allowed("mounting a file system");
        }
        mounted.then(|| Self(folder.to_owned()))
    }

    /// Mounts a new ext4 in a file, over a folder; `None` where loop devices cannot be had.
    fn of_image(image: &Path, folder: &Path) -> Option<Self> {
        std::fs::File::create(image).unwrap().set_len(32 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(image).output();
        let made = made.is_ok_and(|output| output.status.success());
        let disk = made.then(|| Self::mount_image(image, folder)).flatten();
        if disk.is_none() {
            not_allowed("mounting a file system of a file");
        }
        disk
    }

    fn mount_image(image: &Path, folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop"]).arg(image).arg(folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let done = Command::new("mount").args(["-o", &option]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Takes all the space there is; the file that holds it.
    fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the gateway may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Writes that cannot be kept are refused and change nothing, traffic goes on, and with space again
/// all is as before.
async fn refuses_while_full(gateway: &Gateway, mut kept: Vec<String>, free: impl FnOnce()) {
    let load = Load::begin(gateway, "/a/x");
    let refused = eventually("a write is refused", async || {
        let name = format!("while-filling-{}", kept.len());
        match write(gateway, &name).await {
            (201, _) => {
                kept.push(name);
                None
            }
            (503, told) => Some((name, told)),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(refused.1.starts_with("the store failed: "), "{}", refused.1);
    let mut absent = vec![refused.0];
    for n in 0..10 {
        let name = format!("perhaps-{n}");
        // A store that tidies itself up may find room for one more.
        match write(gateway, &name).await {
            (201, _) => kept.push(name),
            (503, _) => absent.push(name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lost(gateway, &absent).await, absent, "refused, but there");
    // Edits need space too; what they would have changed stays.
    let url = gateway.url("admin", "/services/a");
    let edited = plain().patch(&url).json(&json!({"retries": 1})).answer().await.status;
    let shown = plain().get(&url).answer().await.expect(200).json();
    assert_eq!(shown["retries"], if edited == 503 { 5 } else { 1 }, "{edited}");
    assert_eq!(lost(gateway, &kept).await, [""; 0]);
    free();
    // At once: nothing but space was missing.
    let (code, told) = write(gateway, "with-space-again").await;
    assert_eq!(code, 201, "{told}");
    kept.push("with-space-again".to_owned());
    assert_eq!(lost(gateway, &kept).await, [""; 0]);
    assert!(load.end().await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_only() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_access_log", "logs/access.log");
    let Some(disk) = Disk::mount(options.prefix(), 8) else { return };
    let mut gateway = options.start().await;
    let app = App::bootstrap(&gateway);
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    let mut kept = Vec::new();
    for n in 0..5 {
        assert_eq!(write(&gateway, &format!("before-{n}")).await.0, 201);
        kept.push(format!("before-{n}"));
    }
    let ballast = disk.fill();
    refuses_while_full(&gateway, kept.clone(), || std::fs::remove_file(ballast).unwrap()).await;
    // Killed while full, it has everything when there is space again.
    let ballast = disk.fill();
    gateway.kill().await;
    std::fs::remove_file(ballast).unwrap();
    gateway.start_again().await;
    assert_eq!(lost(&gateway, &kept).await, [""; 0]);
    assert_eq!(status(&gateway, "/a/x").await, 200);
    app.token(&gateway).await;
}

/// As on a full disk, for every user: no file may grow beyond a size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_may_not_grow_refuse_writes_only() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_access_log", "off");
    // Blocks of 512 bytes. The signal that such a write raises is ignored, as in a service manager
    // that sets the limit; then the write fails.
    let script = "trap '' XFSZ; ulimit -S -f 900; exec \"$0\"";
    let plain_command = options.command();
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", script]).arg(plain_command.as_std().get_program());
    command
        .env_clear()
        .envs(plain_command.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", "/usr/bin:/bin").current_dir(options.prefix()).kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut gateway = Gateway::from_command(options, command).await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    let pid = gateway.pid().to_string();
    let free = || {
        let done = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).output();
        assert!(done.unwrap().status.success());
    };
    refuses_while_full(&gateway, Vec::new(), free).await;
    gateway.kill().await;
    gateway.start_again().await;
    assert_eq!(lost(&gateway, &["with-space-again".to_owned()]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_turns_read_only() {
    let upstream = Upstream::start().await;
    let options = Options::new();
    let Some(disk) = Disk::mount(options.prefix(), 16) else { return };
    let mut gateway = options.start().await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    assert_eq!(write(&gateway, "before").await.0, 201);
    gateway.kill().await;

    // It cannot start there, and says where.
    disk.remount("ro");
    let (code, _, error) = gateway.options().run(&["run"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(gateway.prefix().to_str().unwrap()), "{error}");
    assert!(error.contains("Read-only file system"), "{error}");
    disk.remount("rw");
    gateway.start_again().await;
    assert_eq!(lost(&gateway, &["before".to_owned()]).await, [""; 0]);
    assert_eq!(status(&gateway, "/a/x").await, 200);
}

/// A file system that gives up writing while it is used, as after an error of its disk: changes are
/// refused, traffic goes on, and what was acknowledged is there once it is mounted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_while_serving() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_access_log", "logs/access.log");
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    let Some(disk) = Disk::of_image(&image, options.prefix()) else { return };
    let mut gateway = options.start().await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    let mut kept = Vec::new();
    for n in 0..5 {
        assert_eq!(write(&gateway, &format!("before-{n}")).await.0, 201);
        kept.push(format!("before-{n}"));
    }
    let load = Load::begin(&gateway, "/a/x");
    // To the kernel an error of the disk; nobody has to close a file first.
    disk.remount("abort");
    assert!(std::fs::write(gateway.prefix().join("probe"), "x").is_err(), "it takes writes");
    for n in 0..5 {
        let (code, told) = write(&gateway, &format!("refused-{n}")).await;
        assert_eq!(code, 503, "{told}");
        assert!(told.starts_with("the store failed: "), "{told}");
    }
    assert_eq!(lost(&gateway, &kept).await, [""; 0]);
    upstream.take();
    upstream.more(50).await;
    assert!(load.end().await > 0);
    assert_eq!(status(&gateway, "/a/x").await, 200);

    gateway.kill().await;
    drop(disk);
    let disk = Disk::mount_image(&image, gateway.prefix());
    assert!(disk.is_some(), "it cannot be mounted again");
    gateway.start_again().await;
    assert_eq!(lost(&gateway, &kept).await, [""; 0]);
    assert_eq!(status(&gateway, "/a/x").await, 200);
    assert_eq!(write(&gateway, "after").await.0, 201);
    gateway.kill().await;
}

/// Users who are not root meet this by the mode of the folder.
#[tokio::test]
async fn a_folder_nobody_may_write_to() {
    if rustix::process::geteuid().is_root() {
        eprintln!("left out: the mode of a folder means nothing to root");
        return;
    }
    let options = Options::new();
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(options.prefix(), mode).unwrap();
    };
    mode(0o500);
    let (code, _, error) = options.run(&["run"]).await;
    mode(0o700);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(options.prefix().to_str().unwrap()), "{error}");
}
