//! A real directory for tests: OpenLDAP's `slapd`, on a free port, with a folder of its own.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running directory: `cn=ann,dc=example,dc=com` with the password `secret:1`, and
/// `cn=O\, Bob,dc=example,dc=com` with `pw`. Dropping it ends it.
pub(crate) struct Slapd {
    process: Child,
    /// The port for plain connections and for those that begin TLS on their way.
    pub(crate) plain: u16,
    /// The port for connections with TLS.
    #[allow(dead_code, reason = "not every user of this file speaks TLS")]
    pub(crate) tls: u16,
    folder: TempDir,
}

const PROGRAM: &str = "/usr/sbin/slapd";

const CONTENT: &str = "\
dn: dc=example,dc=com
objectClass: domain
dc: example

dn: cn=ann,dc=example,dc=com
objectClass: person
cn: ann
sn: ann
userPassword: secret:1

dn: cn=O\\2C Bob,dc=example,dc=com
objectClass: person
cn: O, Bob
sn: Bob
userPassword: pw
";

impl Slapd {
    /// Starts one; `None` where it is not installed, which in CI is a failure.
    pub(crate) fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            assert!(std::env::var_os("CI").is_none(), "slapd is not installed");
            eprintln!("slapd is not installed: skipped");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("slapd-").tempdir().unwrap();
        let place = folder.path().display();
        std::fs::create_dir(folder.path().join("db")).unwrap();
        certificate(folder.path());
        let schemas =
            ["core", "cosine"].map(|name| format!("include /etc/ldap/schema/{name}.schema"));
        let conf = format!(
            "{}\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {place}/pid\n\
             TLSCertificateFile {place}/cert.pem\nTLSCertificateKeyFile {place}/key.pem\n\
             database mdb\nmaxsize 10485760\nsuffix \"dc=example,dc=com\"\ndirectory {place}/db\n",
            schemas.join("\n")
        );
        let conf_file = folder.path().join("slapd.conf");
        std::fs::write(&conf_file, conf).unwrap();
        let mut load = Command::new("/usr/sbin/slapadd")
            .arg("-f")
            .arg(&conf_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        load.stdin.take().unwrap().write_all(CONTENT.as_bytes()).unwrap();
        assert!(load.wait().unwrap().success(), "slapadd loads the content");

        // The ports are free now; whoever takes one before slapd does makes this test fail, rarely.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two) = (free(), free());
        let (plain, tls) = (one.local_addr().unwrap().port(), two.local_addr().unwrap().port());
        drop((one, two));
        let process = Command::new(PROGRAM)
            .args(["-d", "0", "-f"])
            .arg(&conf_file)
            .arg("-h")
            .arg(format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let slapd = Self { process, plain, tls, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", tls)).is_err() {
            assert!(Instant::now() < deadline, "slapd listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(slapd)
    }

    /// Its certificate, PEM, which is its own authority.
    #[allow(dead_code, reason = "not every user of this file verifies")]
    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Ends it; its ports refuse connections from then on.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
        debug_assert!(self.folder.path().exists());
    }
}

/// A certificate for `directory.test` and its address that nobody trusts, and its key.
fn certificate(folder: &Path) {
    let made =
        rcgen::generate_simple_self_signed(["directory.test".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}
