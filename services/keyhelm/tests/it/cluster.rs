//! `keyhelm dev` as a process of its own, for the verbs to talk to.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::{Home, Ran, ran, text};

/// Longest wait for anything that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster and the home of whoever uses it.
pub struct Dev {
    pub home: Home,
    process: Child,
}

impl Dev {
    /// Starts one in a new home, on free ports.
    pub fn start() -> Self {
        let home = Home::new();
        let process = spawn(&home, 0);
        Self { home, process }
    }

    /// A cluster with a master key and one administrator, whose passphrase file is `pass`.
    pub fn ready(extra: &[&str]) -> Self {
        let dev = Self::start();
        dev.home.add_sigkey("Alice");
        let done = dev.signed(&[&["auto-init", "--trust-first-use"], extra].concat());
        assert_eq!(done.code, 0, "{done:?}");
        dev
    }

    /// Runs a verb.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.home.run(args)
    }

    /// Runs a verb that signs.
    pub fn signed(&self, args: &[&str]) -> Ran {
        let pass = self.home.path("pass");
        self.run(&[args, &["--passphrase-file", text(&pass)]].concat())
    }

    /// Runs a verb that must succeed, and gives what it wrote.
    pub fn good(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.out
    }

    /// Starts a verb and gives it running, its output piped.
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.home.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Sends the cluster a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.process, name);
    }

    /// Kills the cluster as a power cut would, and starts it again over the same folder.
    pub fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        self.restart_at(0);
    }

    /// Starts it again with its coordinator on this port; 0 for a free one.
    pub fn restart_at(&mut self, port: u16) {
        std::fs::remove_file(config(&self.home)).unwrap();
        self.process = spawn(&self.home, port);
    }

    /// Where its coordinator listens.
    pub fn coordinator_port(&self) -> u16 {
        self.server().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// URL of its coordinator.
    pub fn server(&self) -> String {
        self.context().server.unwrap()
    }

    /// URL of its gateway.
    pub fn gateway(&self) -> String {
        self.context().gateway.unwrap()
    }

    fn context(&self) -> keyhelm::context::Context {
        let contexts = keyhelm::context::Contexts::read(&config(&self.home)).unwrap();
        contexts.choose(None).unwrap().unwrap().1
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a process that this test has started a signal.
pub fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for a process to end.
pub fn ended(process: Child) -> Ran {
    ran(process.wait_with_output().unwrap())
}

fn config(home: &Home) -> std::path::PathBuf {
    home.path(".config/keyhelm/config.toml")
}

/// The cluster is up when it has saved itself as the context.
fn spawn(home: &Home, coordinator_port: u16) -> Child {
    let data = home.path("dev");
    let port = coordinator_port.to_string();
    let ports = ["--coordinator-port", port.as_str(), "--gateway-port", "0"];
    let args = [&["dev", "--data", text(&data)], ports.as_slice()].concat();
    let log = std::fs::File::create(home.path("dev.log")).unwrap();
    let mut process = home.command(&args).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let path = config(home);
    let is_up = until(|| path.exists() || process.try_wait().unwrap().is_some());
    assert!(is_up && path.exists(), "{}", read(&home.path("dev.log")));
    process
}

/// Whether something comes true in time.
pub fn until(mut is_true: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if is_true() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
