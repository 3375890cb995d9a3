//! The start and the end of the service.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::observe::upkeep;
use crate::replica;
use crate::routes::router;
use crate::settings::Settings;

/// A service that listens.
#[derive(Debug)]
pub struct Running {
    app: App,
    address: SocketAddr,
    served: JoinHandle<std::io::Result<()>>,
    grace: Duration,
}

/// Starts the service: it listens at once, and takes requests when its libraries are open.
///
/// # Errors
///
/// A setting that cannot be kept, or the address cannot be listened on.
pub async fn serve(settings: &Settings) -> Result<Running, String> {
    let app = App::new(settings)?;
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", settings.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let ending = app.ending().clone().cancelled_owned();
    let served = axum::serve(listener, service).with_graceful_shutdown(ending);
    let served = tokio::spawn(served.into_future());
    tokio::spawn(app.ending().clone().run_until_cancelled_owned(upkeep(app.metrics())));
    if settings.replica {
        let period = Duration::from_millis(settings.limits.refresh_ms);
        let follow = replica::run(app.clone(), period);
        tokio::spawn(app.ending().clone().run_until_cancelled_owned(follow));
    }
    Ok(Running { app, address, served, grace: Duration::from_secs(settings.limits.grace_s) })
}

impl Running {
    /// Returns the address that the service listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the libraries.
    ///
    /// # Errors
    ///
    /// A library that cannot be opened.
    pub async fn open(&self) -> Result<(), String> {
        self.app.open().await.map_err(|problem| problem.detail().to_owned())
    }

    /// Ends the service: it accepts no more connections, finishes requests for the time of grace, makes the changes that it accepted,
    /// writes checkpoints and closes the libraries.
    pub async fn end(mut self) {
        self.app.ending().cancel();
        if tokio::time::timeout(self.grace, &mut self.served).await.is_err() {
            tracing::warn!("requests were cut off at the end of the time of grace");
            self.served.abort();
        }
        self.app.close().await;
    }
}
