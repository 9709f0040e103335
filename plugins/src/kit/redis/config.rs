use std::time::Duration;

use gateway_model::schema::Record;
use gateway_model::{Secret, Violations};
use serde::Deserialize;

use super::{Place, Tls};

/// How to reach a Redis (kong/tools/redis/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct RedisConfig {
    /// Host name or address.
    #[record(is("host", types::host))]
    host: Option<String>,
    /// TCP port.
    #[record(default = 6379, between(0, 65535))]
    port: Option<u16>,
    /// Milliseconds to connect, send and receive.
    #[record(default = 2000, between(0, 2_147_483_646))]
    timeout: Option<u64>,
    /// User name.
    #[record(referenceable)]
    username: Option<String>,
    /// Password.
    #[record(len_min(0), referenceable, encrypted)]
    password: Option<Secret<String>>,
    /// Number of the database.
    #[record(default = 0)]
    database: Option<i64>,
    /// Whether to speak TLS.
    #[record(default = false)]
    ssl: Option<bool>,
    /// Whether its certificate is verified.
    #[record(default = false)]
    ssl_verify: Option<bool>,
    /// The server name asked for.
    #[record(is("sni", types::sni))]
    server_name: Option<String>,
}

impl RedisConfig {
    /// # Errors
    ///
    /// A missing host.
    pub(crate) fn place(self) -> Result<Place, Violations> {
        let password = self.password.map(Secret::into_inner);
        let missing = || Violations::one("redis.host", "required field missing");
        let tls =
            Tls { verify: self.ssl_verify.unwrap_or_default(), server_name: self.server_name };
        Ok(Place {
            host: self.host.ok_or_else(missing)?,
            port: self.port.unwrap_or(6379),
            timeout: Duration::from_millis(self.timeout.unwrap_or(2000).max(1)),
            username: self.username,
            password,
            database: self.database.unwrap_or(0),
            tls: self.ssl.unwrap_or_default().then_some(tls),
        })
    }
}
