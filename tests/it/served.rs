//! An emulator as a process of its own, and what is run against it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder that is gone when the test is over.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
    pub fn summary(&self, folder: &str) -> serde_json::Value {
        let path = self.0.join(folder).join("summary.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command with its key out of the environment.
pub fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).env_remove("TIDEGATE_API_KEY").env_remove("TIDEGATE_TRACE");
    command
}

pub fn text(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("code {:?}\n{out}\n{error}", output.status.code())
}

/// A process that is interrupted, not killed, and waited for; killed when a test fails.
pub struct Running {
    child: Child,
    said: String,
    rest: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    /// Starts a command; what it says on standard error is kept.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child, said: String::new(), rest: None }
    }

    /// Waits for a line on standard error that has `words`.
    pub fn wait_for(&mut self, words: &str) -> String {
        let mut lines = BufReader::new(self.child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                panic!("it ended and never said `{words}`:\n{}", self.said);
            }
            self.said.push_str(&line);
            if line.contains(words) {
                self.rest = Some(std::thread::spawn(move || {
                    let mut rest = String::new();
                    let _ = lines.read_to_string(&mut rest);
                    rest
                }));
                return line;
            }
        }
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end, at most `most`; returns the exit code and all that was said.
    pub fn end(mut self, most: Duration) -> (Option<i32>, String) {
        let start = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(start.elapsed() < most, "it goes on after {most:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut said = std::mem::take(&mut self.said);
        if let Some(rest) = self.rest.take() {
            said.push_str(&rest.join().unwrap());
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = pipe.read_to_string(&mut said);
        }
        if let Some(mut pipe) = self.child.stdout.take() {
            let _ = pipe.read_to_string(&mut said);
        }
        (code, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An emulated gateway.
pub struct Emulator {
    running: Running,
    pub url: String,
}

impl Emulator {
    pub fn start(scenario: &str, more: &[&str]) -> Self {
        let mut command = tidegate(&["emulate", scenario, "--listen", "127.0.0.1:0"]);
        let mut running = Running::start(command.args(more));
        let line = running.wait_for("http://127.0.0.1:");
        let at = line.find("http://").unwrap();
        let url = line[at..].split_whitespace().next().unwrap().trim_end_matches('/').to_owned();
        Emulator { running, url }
    }

    /// Ctrl-C; the exit code and all that it said.
    pub fn stop(self) -> (Option<i32>, String) {
        self.running.signal("INT");
        self.running.end(Duration::from_secs(30))
    }

    /// It is gone at once, as if the machine had lost power.
    pub fn kill(&self) {
        self.running.signal("KILL");
    }
}
