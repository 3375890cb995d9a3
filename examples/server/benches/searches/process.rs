//! The server as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Result;

/// A server in a process of its own, ended with its owner.
pub struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts a server on the libraries of a folder.
    pub fn start(data: &Path, flags: &[&str]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().ok_or("the server has no output")?;
        let mut lines = BufReader::new(lines).lines();
        let mut line =
            || lines.next().ok_or("the server ended")?.map_err(Box::<dyn std::error::Error>::from);
        let listening = line()?;
        let address = listening.strip_prefix("listening on http://").ok_or("another first line")?;
        let address = address.parse()?;
        line()?;
        Ok(Self { child, address })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Every acknowledged document is in the file.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is removed with its owner.
pub struct Removed(pub PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
