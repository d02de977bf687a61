//! What the daemon shows from its first moment: the API, and that a server is waited for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::systemd;
use crate::api::{self, Api, Door};
use crate::clock::Clock;
use crate::config::{ApiAuth, Config};
use crate::jobs::Reading;
use crate::store::StoreError;

/// A server that is not there is looked for after this, then after twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The API, which answers 503 until it is given a store.
pub(super) struct Front<'c> {
    config: &'c Config,
    api: Arc<Api>,
    /// Where it listens: asked for a free port (0), the system chose one.
    pub address: SocketAddr,
    serving: JoinHandle<()>,
    stop: CancellationToken,
}

impl<'c> Front<'c> {
    pub fn start(config: &'c Config, clock: Clock, listener: TcpListener) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the API listens nowhere")?;
        let api = Arc::new(Api::without_store(clock, config.reporting.timezone, &config.api));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(api::serve(
            listener,
            api.clone(),
            api::Bounds::new(&config.api),
            stop.clone().cancelled_owned(),
        ));
        Ok(Self { config, api, address, serving, stop })
    }

    /// Opens a store, and waits for it where it is on a server that can't be reached. None where it was stopped meanwhile.
    ///
    /// # Errors
    /// When anything else is wrong: time alone will not mend that.
    pub async fn open<T>(
        &self,
        open: impl AsyncFn() -> anyhow::Result<T>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<T>> {
        systemd::opens_store();
        tokio::select! {
            opened = self.open_once_there(open) => opened.map(Some),
            () = stop.cancelled() => Ok(None),
            never = systemd::still_starting() => match never {},
        }
    }

    async fn open_once_there<T>(&self, open: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            match open().await {
                Err(error) if self.is_worth_waiting(&error) => tracing::warn!(
                    error = format!("{error:#}"),
                    again_in = ?pause,
                    api = %format!("http://{}", self.address),
                    "waiting for the store; the API answers 503 until it is there"
                ),
                opened => return opened,
            }
            systemd::waits_for_store();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn is_worth_waiting(&self, error: &anyhow::Error) -> bool {
        let of_store = || error.chain().find_map(|cause| cause.downcast_ref::<StoreError>());
        self.config.store.url.is_on_server() && of_store().is_some_and(StoreError::is_out_of_reach)
    }

    /// From now on the API answers from this installation. Where no key opens it yet, the log says how to make one.
    ///
    /// # Errors
    /// When keys may not be read there.
    pub async fn answer_from(&self, reading: Reading) -> anyhow::Result<()> {
        if self.config.api.auth == ApiAuth::Keys {
            match reading.store.keys().await {
                Ok(keys) if keys.is_empty() => tracing::warn!(
                    "every request gets 401, because there is no API key yet; `usage-rollup keys create --role SuperUser` makes one"
                ),
                Err(error) if !error.is_out_of_reach() => return Err(error).context("cannot read the API keys"),
                _ => {}
            }
        }
        self.api.answer_from(reading);
        Ok(())
    }

    /// From now on events may be sent, too.
    pub fn take_events(&self, door: Door) {
        self.api.take_events(door);
    }

    /// Lets the requests that are under way end.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.serving.await.context("the API failed")
    }
}
