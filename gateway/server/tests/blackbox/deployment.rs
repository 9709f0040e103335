//! What stands in `conf/` for those who install the gateway: unit, image and manifests, held to the
//! program. Whether they work on a cluster is not seen here.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{
    Answered as _, App, Gateway, Options, Upstream, eventually, missing, not_allowed, plain,
    trusting,
};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Has the program check settings that are given as variables.
async fn checked(variables: &[(String, String)]) {
    let options = Options::new();
    let mut command = options.command();
    let variables = variables.iter().filter(|(name, _)| name != "KONG_PREFIX");
    command.arg("check").envs(variables.map(|(name, value)| (name, value)));
    let output = command.output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(!error.contains("unknown"), "{error}");
}

/// The ports of the listeners: those of `gateway.conf`, unless a variable says otherwise.
fn ports(variables: &[(String, String)]) -> BTreeSet<u16> {
    let conf = read("gateway.conf");
    let port = regex::Regex::new(r":(\d+)").unwrap();
    let mut ports = BTreeSet::new();
    for line in conf.lines() {
        let Some((key, value)) = line.trim_start_matches('#').split_once(" = ") else { continue };
        if !key.ends_with("_listen") {
            continue;
        }
        let name = format!("KONG_{}", key.to_uppercase());
        let given = variables.iter().find(|(one, _)| *one == name).map(|(_, value)| value.as_str());
        let found = port.captures_iter(given.unwrap_or(value));
        ports.extend(found.map(|found| found[1].parse::<u16>().unwrap()));
    }
    assert!(ports.contains(&8000) && ports.contains(&8443), "{ports:?}");
    ports
}

/// systemd takes the unit as it is, and calls it little exposed.
#[tokio::test]
async fn the_unit_of_systemd() {
    let unit = read("systemd/gateway.service");
    let mut commands = Vec::new();
    for line in unit.lines().filter(|line| line.starts_with("Exec") && line.contains("/gateway ")) {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        commands.push(words[0]);
        let [.., "-c", "/etc/gateway/gateway.conf"] = words[..] else { panic!("{line}") };
    }
    assert_eq!(commands, ["check", "run"]);
    let options = Options::new();
    let conf = options.file("gateway.conf", &read("gateway.conf"));
    let (code, _, error) = options.run(&["check", "-c", conf.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{error}");
    installed_as_told(&unit).await;

    // The binary of this test stands where the installed one would.
    let unit = unit.replace("/usr/local/bin/gateway", env!("CARGO_BIN_EXE_gateway"));
    let file = options.file("gateway.service", &unit);
    let analyse = async |words: &[&str]| {
        let output = Command::new("systemd-analyze").args(words).arg(&file).output().await;
        output.ok().map(|output| {
            let told = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&told).into_owned())
        })
    };
    let Some((good, told)) = analyse(&["verify", "--man=no"]).await else {
        missing("systemd-analyze (Debian package systemd)");
        return;
    };
    assert!(good && told.trim().is_empty(), "{told}");
    // Exposure from 0 to 100.
    let words = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    let (good, told) = analyse(&words).await.unwrap();
    assert!(good, "{told}");
}

/// Installed by the lines in its head, the unit's user, who owns nothing there, can read the settings.
async fn installed_as_told(unit: &str) {
    let mut lines = unit.lines().filter_map(|line| line.strip_prefix("#   install -D -m "));
    let mode = lines.find_map(|line| line.strip_suffix(" /etc/gateway/gateway.conf"));
    let (mode, from) = mode.unwrap().split_once(' ').unwrap();
    assert_eq!(from, "conf/gateway.conf");
    let mode = u32::from_str_radix(mode, 8).unwrap();
    if !rustix::process::geteuid().is_root() {
        not_allowed("becoming another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let (program, conf) = (folder.path().join("gateway"), folder.path().join("gateway.conf"));
    std::fs::copy(env!("CARGO_BIN_EXE_gateway"), &program).unwrap();
    std::fs::write(&conf, read("gateway.conf")).unwrap();
    std::fs::set_permissions(&conf, Permissions::from_mode(mode)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(&program).args(["check", "-c"]).arg(&conf).env("KONG_PREFIX", "/var/lib/gateway");
    let output = command.current_dir("/").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Each line names what there is: stages, settings, ports, commands; and the user is nobody special.
#[tokio::test]
async fn the_image() {
    let text = read("container/Dockerfile").replace("\\\n", " ");
    let mut lines = Vec::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        lines.push(line.split_once(' ').unwrap_or_else(|| panic!("{line}")));
    }
    let of = |wanted: &str| -> Vec<&str> {
        lines.iter().filter(|(one, _)| *one == wanted).map(|(_, rest)| *rest).collect()
    };
    let known = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "USER",
        "VOLUME",
        "ENV",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    for (instruction, _) in &lines {
        assert!(known.contains(instruction), "{instruction}");
    }
    assert_eq!(of("FROM").len(), 2, "one stage builds, another runs");
    assert!(of("FROM")[0].ends_with(" AS build"));
    let copied = of("COPY").into_iter().find_map(|line| line.strip_prefix("--from=build "));
    assert_eq!(copied, Some("/src/target/release/gateway /usr/local/bin/gateway"));
    let user = of("USER")[0];
    assert_ne!(user.parse::<u32>().unwrap(), 0);
    assert!(of("RUN").iter().any(|line| line.contains(&format!("--uid {user} "))));
    let variables: Vec<(String, String)> = of("ENV")
        .iter()
        .flat_map(|line| line.split_whitespace())
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.contains(&("KONG_PREFIX".to_owned(), of("VOLUME")[0].to_owned())));
    checked(&variables).await;
    logs_are_printed(&variables);
    no_file_is_logged_to(&variables).await;
    let listened = ports(&variables);
    for port in of("EXPOSE").iter().flat_map(|line| line.split_whitespace()) {
        assert!(listened.contains(&port.parse().unwrap()), "nobody listens on {port}");
    }
    let (code, help, _) = Options::new().run(&["--help"]).await;
    assert_eq!(code, Some(0));
    let listed = |text: &str| -> Vec<String> { serde_json::from_str(text).unwrap() };
    assert_eq!(listed(of("ENTRYPOINT")[0]), ["gateway"]);
    let (_, health) = of("HEALTHCHECK")[0].split_once("CMD ").unwrap();
    for command in [&listed(of("CMD")[0])[0], &listed(health)[1]] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} in {help}");
    }
    assert_eq!(listed(health), ["gateway", "health", "--ask"]);
    // A port that is known without asking the process, or nobody could be asked there.
    let status = variables.iter().find(|(name, _)| name == "KONG_STATUS_LISTEN").unwrap();
    assert_eq!(status.1, "0.0.0.0:8100");
    // What the build needs is what the README says it needs.
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    for package in ["build-essential", "cmake"] {
        assert!(of("RUN")[0].contains(package) && readme.contains(package), "{package}");
    }
}

/// No log is left to its default where that is a file.
fn logs_are_printed(variables: &[(String, String)]) {
    let conf = read("gateway.conf");
    let defaults = conf.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = "));
    let files = defaults.filter(|(key, value)| key.ends_with("_log") && value.starts_with("logs/"));
    let mut seen = 0;
    for (key, _) in files {
        let name = format!("KONG_{}", key.to_uppercase());
        let (_, value) = variables.iter().find(|(one, _)| *one == name).expect(&name);
        assert!(value.starts_with("/dev/std"), "{name}: {value}");
        seen += 1;
    }
    assert_eq!(seen, 7);
}

async fn no_file_is_logged_to(variables: &[(String, String)]) {
    let mut options = Options::new();
    for (name, value) in variables.iter().filter(|(name, _)| name.ends_with("_LOG")) {
        options = options.set(&name["KONG_".len()..].to_lowercase(), value);
    }
    let gateway = options.start().await;
    for listener in ["proxy", "admin", "mep"] {
        plain().get(gateway.url(listener, "/nothing")).answer().await;
    }
    assert!(!gateway.prefix().join("logs").exists());
}

/// Rotated as the snippet for logrotate has it, the gateway writes to new files.
#[tokio::test]
async fn rotated_logs() {
    let text = read("logrotate/gateway");
    let (_, script) = text.split_once("postrotate\n").unwrap();
    let (script, _) = script.split_once("endscript").unwrap();
    let mut gateway = Options::new().set("proxy_access_log", "logs/access.log").start().await;
    let prefix = gateway.prefix().to_str().unwrap().to_owned();
    assert!(text.contains("\n/var/lib/gateway/logs/*.log {\n"), "{text}");
    let log = gateway.prefix().join("logs/access.log");
    std::fs::rename(&log, log.with_extension("log.1")).unwrap();
    let script = script.replace("/var/lib/gateway", &prefix);
    let done = Command::new("sh").args(["-c", &script]).status().await.unwrap();
    assert!(done.success());
    eventually("a new file", async || log.exists().then_some(())).await;
    plain().get(gateway.url("proxy", "/after")).answer().await.expect(404);
    eventually("a line in it", async || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("/after")).then_some(())
    })
    .await;
    gateway.kill().await;
}

/// Whether mounts can be made, which root in a container may not.
async fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "mount", "--make-rprivate", "/"]);
    command.output().await.is_ok_and(|output| output.status.success())
}

/// As image and manifests have it run: a user without rights or capabilities, a root file system nobody
/// may write to, and one folder that is its own.
#[tokio::test]
async fn a_root_that_is_read_only() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() || !may_mount().await {
        not_allowed("a place with mounts of its own");
        return;
    }
    let options = Options::new();
    let plain_command = options.command();
    // The user may have no way to where the program was built.
    let program = options.prefix().join("gateway");
    std::fs::copy(plain_command.as_std().get_program(), &program).unwrap();
    std::os::unix::fs::chown(options.prefix(), Some(NOBODY), Some(NOBODY)).unwrap();
    let place = "set -e
        mount --make-rprivate /
        mount --bind \"$KONG_PREFIX\" \"$KONG_PREFIX\"
        mount -o remount,bind,ro /
        ! touch /written 2>/dev/null || { rm /written; exit 90; }
        cd \"$KONG_PREFIX\"
        exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
            --inh-caps=-all --bounding-set=-all \"$0\" run";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", place]).arg(&program);
    command
        .env_clear()
        .envs(plain_command.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(options.prefix());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut gateway = Gateway::from_command(options, command).await;

    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    assert_eq!(line("Uid:").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!((line("CapEff:"), line("CapBnd:")), ("0000000000000000", "0000000000000000"));
    assert_eq!(line("NoNewPrivs:"), "1");
    let upstream = Upstream::start().await;
    let service = json!({"name": "s", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let routes = gateway.url("admin", "/services/s/routes");
    plain().post(routes).json(&json!({"paths": ["/s"]})).answer().await.expect(201);
    plain().get(gateway.url("proxy", "/s")).answer().await.expect(200);
    // A body beyond what is kept in memory, if any is kept elsewhere.
    let large = plain().post(gateway.url("proxy", "/s")).body(vec![b'x'; 3_000_000]);
    large.answer().await.expect(200);
    App::bootstrap(&gateway).token(&gateway).await;
    gateway.signal(Signal::QUIT);
    assert!(gateway.ended().await.success());
    for entry in std::fs::read_dir(gateway.prefix()).unwrap() {
        let entry = entry.unwrap();
        let owner = entry.metadata().unwrap().uid();
        assert!(owner == NOBODY || entry.path() == program, "{:?}", entry.path());
    }
}

/// One container that listens where its services and probes lead, without rights it does not need.
#[tokio::test]
async fn the_manifests_of_kubernetes() {
    let text = read("kubernetes/gateway.yaml");
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let kinds: Vec<_> = all.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    let services = ["Service"; 5];
    assert_eq!(kinds, [&["Namespace", "StatefulSet"][..], &services, &["NetworkPolicy"]].concat());
    for one in &all {
        let version = match one["kind"].as_str() {
            Some("StatefulSet") => "apps/v1",
            Some("NetworkPolicy") => "networking.k8s.io/v1",
            _ => "v1",
        };
        assert_eq!(one["apiVersion"], version);
        assert!(one["metadata"]["name"].is_string());
    }
    let set = &all[1]["spec"];
    let pod = &set["template"]["spec"];
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1, "one container replaces four");
    let container = &containers[0];
    // A release by its name: nodes that have it ask nobody, and a restart brings no other one.
    let image = concat!("mep-gateway:", env!("CARGO_PKG_VERSION"));
    assert_eq!(container["image"], image);
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    let tags = read("container/Dockerfile").matches(image).count();
    assert_eq!(tags, 2, "the image is built and run under this name");

    let variables: Vec<(String, String)> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| [&one["name"], &one["value"]].map(|text| text.as_str().unwrap().to_owned()))
        .map(|[name, value]| (name, value))
        .collect();
    checked(&variables).await;
    logs_are_printed(&variables);
    let listened = ports(&variables);
    let mut named = BTreeSet::new();
    for port in container["ports"].as_array().unwrap() {
        let number = u16::try_from(port["containerPort"].as_u64().unwrap()).unwrap();
        assert!(listened.contains(&number), "nobody listens on {number}");
        assert!(named.insert(port["name"].as_str().unwrap()), "{port}");
    }
    for service in all.iter().filter(|one| one["kind"] == "Service") {
        assert_eq!(&service["spec"]["selector"], labels);
        for port in service["spec"]["ports"].as_array().unwrap() {
            assert!(named.contains(port["targetPort"].as_str().unwrap()), "{port}");
        }
    }
    // Names and ports EdgeGallery's clients are written for; where each leads, and whether it has TLS.
    for (name, port, target, key) in [
        ("mep-api-gw", 8443, "proxy-ssl", None),
        ("mep-mm5", 80, "mep", Some("KONG_MEP_LISTEN")),
        ("mepauth", 10443, "mep-auth", Some("KONG_MEP_AUTH_LISTEN")),
    ] {
        let mut services = all.iter().filter(|one| one["kind"] == "Service");
        let service = services.find(|one| one["metadata"]["name"] == name).expect(name);
        assert_eq!(service["metadata"]["namespace"], "mep", "{name}");
        let mut ports = service["spec"]["ports"].as_array().unwrap().iter();
        let found = ports.find(|one| one["port"] == port).expect(name);
        assert_eq!(found["targetPort"], target, "{name}");
        let Some(key) = key else { continue };
        let (_, value) = variables.iter().find(|(name, _)| name == key).expect(key);
        let mut containers_ports = container["ports"].as_array().unwrap().iter();
        let number = containers_ports.find(|one| one["name"] == target).unwrap();
        assert_eq!(*value, format!("0.0.0.0:{} ssl", number["containerPort"]), "{key}");
    }
    managed_by_few(&all, &named);

    // With these settings, but ports of its own, it answers there.
    let mut options = Options::new();
    for (name, value) in &variables {
        let key = name.trim_start_matches("KONG_").to_lowercase();
        match value.split_once(' ') {
            Some((_, "ssl")) => options = options.set(&key, "127.0.0.1:0 ssl"),
            _ if key.ends_with("_trusted") => options = options.set(&key, value),
            _ => {}
        }
    }
    let gateway = options.start().await;
    let client = trusting(&gateway).build().unwrap();
    let mm5 = gateway.tls_url("mep", "/mepcfg/mec_platform_config/v1/capabilities");
    client.get(mm5).answer().await.expect(200);
    client.get(gateway.tls_url("mep-auth", "/health")).answer().await.expect(200);

    // What is probed answers; the metrics are where Prometheus is told to look.
    let gateway = Gateway::start().await;
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let http = &container[probe]["httpGet"];
        assert_eq!(http["port"], "status", "{probe}");
        let path = http["path"].as_str().unwrap();
        plain().get(gateway.url("status", path)).answer().await.expect(200);
    }
    let told = &set["template"]["metadata"]["annotations"];
    let path = told["prometheus.io/path"].as_str().unwrap();
    let metrics = plain().get(gateway.url("status", path)).answer().await.expect(200);
    assert!(metrics.text().contains("kong_node_info"));
    assert_eq!(told["prometheus.io/port"], "8100");

    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let mounts: BTreeSet<_> = mounts.map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    let prefix = variables.iter().find(|(name, _)| name == "KONG_PREFIX").unwrap();
    assert!(mounts.contains(prefix.1.as_str()), "the prefix is no volume: {mounts:?}");
    let image_user = read("container/Dockerfile").lines().find_map(|line| {
        line.strip_prefix("USER ").map(|user| user.trim().parse::<u64>().unwrap())
    });
    assert_eq!(pod["securityContext"]["runAsUser"].as_u64(), image_user);
}

/// Whoever gets to the direct listeners is believed, so a policy says who does; all else is open, and
/// every port has its place.
fn managed_by_few(all: &[Value], named: &BTreeSet<&str>) {
    let policy = all.iter().find(|one| one["kind"] == "NetworkPolicy").unwrap();
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let ports = |rule: &Value| -> BTreeSet<String> {
        let ports = rule["ports"].as_array().unwrap().iter();
        ports.map(|one| one["port"].as_str().unwrap().to_owned()).collect()
    };
    let (open, closed) = (ports(&rules[0]), ports(&rules[1]));
    assert!(rules[0].get("from").is_none() && rules.len() == 2, "{rules:?}");
    let label = &rules[1]["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(*label, json!({"mep-management": "true"}));
    assert_eq!(closed, BTreeSet::from(["mep".to_owned(), "mep-auth".to_owned()]));
    let every: BTreeSet<_> = open.union(&closed).map(String::as_str).collect();
    assert_eq!(every, *named);
}
