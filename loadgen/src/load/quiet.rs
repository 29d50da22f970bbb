//! Standard output while goose runs: it prints there, and standard output is for data.

/// Standard output goes nowhere until this is dropped.
#[derive(Debug)]
pub struct Stdout {
    #[cfg(unix)]
    kept: Option<std::os::fd::OwnedFd>,
}

impl Stdout {
    /// Sends what is written to standard output nowhere. Where that cannot be done, it stays as it is.
    pub fn mute() -> Self {
        #[cfg(unix)]
        {
            let redirected = || {
                let kept = rustix::io::dup(rustix::stdio::stdout()).ok()?;
                let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").ok()?;
                rustix::stdio::dup2_stdout(&nowhere).ok()?;
                Some(kept)
            };
            Stdout { kept: redirected() }
        }
        #[cfg(not(unix))]
        Stdout {}
    }
}

#[cfg(unix)]
impl Drop for Stdout {
    fn drop(&mut self) {
        use std::io::Write as _;
        if let Some(kept) = &self.kept {
            // What is still in the buffer is goose's.
            let _ = std::io::stdout().flush();
            // There is nothing to be done about a descriptor that cannot be put back.
            let _ = rustix::stdio::dup2_stdout(kept);
        }
    }
}
