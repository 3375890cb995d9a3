//! The log, and spans for an OpenTelemetry collector.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Sends the spans that are left when it is dropped.
#[derive(Debug, Default)]
pub struct Tracing {
    #[cfg(feature = "otlp")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Drop for Tracing {
    fn drop(&mut self) {
        #[cfg(feature = "otlp")]
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown()
        {
            eprintln!("server: spans were lost: {error}");
        }
    }
}

/// Starts the log, which `RUST_LOG` filters, and with the feature `otlp` the spans for the collector that
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names, filtered by `SERVER_SPANS`. Called once, outside of the reactor: the exporter has a thread that blocks.
///
/// # Errors
///
/// The exporter cannot be made.
pub fn start() -> Result<Tracing, String> {
    let filter = |variable: &str, default: &str| {
        EnvFilter::try_from_env(variable).unwrap_or_else(|_| EnvFilter::new(default))
    };
    let log = fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(filter("RUST_LOG", "warn,server=info"));
    let registry = Registry::default().with(log);
    #[cfg(feature = "otlp")]
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        use opentelemetry::trace::TracerProvider;
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let resource =
            opentelemetry_sdk::Resource::builder().with_service_name("nearfield-server").build();
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("server"))
            .with_filter(filter("SERVER_SPANS", "off,server=info,nearfield=trace"));
        registry.with(spans).init();
        return Ok(Tracing { provider: Some(provider) });
    }
    registry.init();
    Ok(Tracing::default())
}
