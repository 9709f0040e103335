//! [`Exact`]: counting in Redis, atomically over all nodes, in one round trip.

use std::sync::Arc;

use redis::{Cmd, Pipeline};
use tokio::runtime::Handle;

use super::{CounterError, CounterFuture, CounterStep, CounterStore, Redis, Taken, Window};

/// Counters in one Redis.
pub(crate) struct Exact {
    redis: Arc<Redis>,
    runtime: Handle,
}

/// Takes one use of every key, or none. Arguments are limit and life of each key; the answer is
/// whether they were taken, and how many uses each had before.
///
/// Kong counts first and asks afterwards, so that refused requests use up other periods too; here
/// they do not, as they do not in its other policies.
const TAKE: &str = "\
local used, granted = {}, 1
for i, key in ipairs(KEYS) do
  used[i] = tonumber(redis.call('get', key) or '0')
  if used[i] >= tonumber(ARGV[2 * i - 1]) then granted = 0 end
end
if granted == 1 then
  for i, key in ipairs(KEYS) do
    if redis.call('incr', key) == 1 then redis.call('expireat', key, ARGV[2 * i]) end
  end
end
table.insert(used, 1, granted)
return used";

/// Adds to a key, which gets its life when it is new.
const ADD: &str = "\
local value = redis.call('incrby', KEYS[1], ARGV[1])
if value == tonumber(ARGV[1]) then redis.call('expireat', KEYS[1], ARGV[2]) end
return value";

impl Exact {
    pub(super) const fn new(redis: Arc<Redis>, runtime: Handle) -> Self {
        Self { redis, runtime }
    }

    pub(super) async fn take(&self, windows: &[Window]) -> Result<Taken, String> {
        let mut eval = redis::cmd("EVAL");
        eval.arg(TAKE).arg(windows.len());
        for window in windows {
            eval.arg(&window.key);
        }
        for window in windows {
            eval.arg(window.uses).arg(window.expires);
        }
        let [answer]: [Vec<u64>; 1] = self.redis.run(&one(eval)).await?;
        let (granted, used) = answer.split_first().ok_or("an empty answer")?;
        let granted = *granted == 1;
        let mut left = [0; 6];
        for ((left, window), used) in left.iter_mut().zip(windows).zip(used) {
            *left = window.uses.saturating_sub(used + u64::from(granted));
        }
        Ok(Taken { granted, left })
    }

    pub(super) async fn used(&self, windows: &[Window], now: u64) -> Result<Vec<u64>, String> {
        let step = |window: &Window| CounterStep {
            key: window.key.clone(),
            by: 0,
            expires: window.expires,
        };
        let steps = windows.iter().map(step).collect();
        CounterStore::add(self, steps, now).await.map_err(|why| why.0)
    }

    pub(super) fn add(self: &Arc<Self>, steps: Vec<CounterStep>, now: u64) {
        let own = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(why) = CounterStore::add(&*own, steps, now).await {
                tracing::error!(%why, "uses could not be counted: {why}");
            }
        });
    }
}

impl CounterStore for Exact {
    fn add(&self, steps: Vec<CounterStep>, _: u64) -> CounterFuture<'_> {
        Box::pin(async move {
            let mut commands = Pipeline::new();
            for step in &steps {
                let mut command;
                if step.by == 0 {
                    command = redis::cmd("GET");
                    command.arg(&step.key);
                } else {
                    command = redis::cmd("EVAL");
                    command.arg(ADD).arg(1).arg(&step.key).arg(step.by).arg(step.expires);
                }
                commands.add_command(command);
            }
            let values: Vec<Option<u64>> = self.redis.run(&commands).await.map_err(CounterError)?;
            Ok(values.into_iter().map(Option::unwrap_or_default).collect())
        })
    }
}

fn one(command: Cmd) -> Pipeline {
    let mut commands = Pipeline::new();
    commands.add_command(command);
    commands
}
