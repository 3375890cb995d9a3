//! The program: settings, log, signals.

#![warn(clippy::unwrap_used)]

use std::process::ExitCode;

use clap::Parser;
use server::{Command, Settings, Task, new_key, serve, start_tracing};

fn main() -> ExitCode {
    let Command { settings, task } = Command::parse();
    let done = match task {
        Some(Task::NewKey { name, libraries }) => print_key(name, libraries),
        None => start_tracing().and_then(|_tracing| run(&settings)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_key(name: String, libraries: Vec<String>) -> Result<(), String> {
    let (key, entry) = new_key(name, libraries);
    let entry = serde_json::to_string_pretty(&[entry]).map_err(|error| error.to_string())?;
    println!("key, shown once: {key}\nentry of the file of keys:\n{entry}");
    Ok(())
}

#[tokio::main]
async fn run(settings: &Settings) -> Result<(), String> {
    let running = serve(settings).await?;
    println!("listening on http://{}", running.address());
    running.open().await?;
    println!("ready: {}", settings.data.display());
    signal().await;
    tracing::info!("the service ends");
    running.end().await;
    Ok(())
}

/// Waits for the signal to end.
async fn signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}
