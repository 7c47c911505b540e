//! What every verb has at hand: whom to talk to, with which token, and how to answer.

use std::path::{Path, PathBuf};

use protocol::InstanceId;
use protocol::api::InstanceView;
use reqwest::Url;
use serde::Serialize;
use service::SecretText;

use crate::ask;
use crate::cli::{Global, InstanceArg};
use crate::client::Http;
use crate::client::coordinator::Coordinator;
use crate::client::gateway::Gateway;
use crate::context::{self, Context};
use crate::failure::{Exit, Failure, Outcome};
use crate::out;
use crate::show::colour;
use crate::show::instances;
use crate::show::visible;

/// Port of the coordinator.
const SERVER_PORT: u16 = 7600;
/// Port of the gateway.
const GATEWAY_PORT: u16 = 7601;
/// Where a cluster is if nothing says so.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7600";

/// What every verb has at hand.
pub struct App {
    is_json: bool,
    server: String,
    gateway: String,
    token_file: Option<PathBuf>,
    sigkeys: Option<PathBuf>,
    is_clear_token_meant: bool,
}

impl App {
    /// Out of arguments, environment and the context.
    pub fn new(global: &Global) -> Outcome<Self> {
        let context = context_of(global)?.unwrap_or_default();
        let is_elsewhere = global.server.is_some() || global.gateway.is_some();
        let server = match (&global.server, &global.gateway) {
            (Some(server), _) => server.clone(),
            (None, Some(gateway)) => beside(gateway, SERVER_PORT),
            (None, None) => context.server.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        let gateway = match (&global.gateway, is_elsewhere) {
            (Some(gateway), _) => gateway.clone(),
            (None, true) => beside(&server, GATEWAY_PORT),
            (None, false) => {
                context.gateway.clone().unwrap_or_else(|| beside(&server, GATEWAY_PORT))
            }
        };
        // A context's token is for the context's servers only.
        let is_contexts = context.server.as_ref() == Some(&server)
            || (global.server.is_none() && context.gateway.as_ref() == Some(&gateway));
        let of_context = context.token_file.as_ref().filter(|_| is_contexts);
        let token_file = global.token_file.as_ref().or(of_context).cloned();
        Ok(Self {
            is_json: global.json,
            server,
            gateway,
            token_file,
            sigkeys: context.sigkeys,
            is_clear_token_meant: global.clear_token,
        })
    }

    /// For a verb that asks nobody: neither context nor environment is looked at.
    pub const fn local(global: &Global) -> Self {
        Self {
            is_json: global.json,
            server: String::new(),
            gateway: String::new(),
            token_file: None,
            sigkeys: None,
            is_clear_token_meant: false,
        }
    }

    /// Read only where somebody is shown it: verbs on local files need none.
    fn token(&self) -> Outcome<Option<SecretText>> {
        self.token_file.as_deref().map(read_token).transpose()
    }

    /// Whether programs read what is written.
    pub const fn is_json(&self) -> bool {
        self.is_json
    }

    /// The context's folder of signature keys.
    pub fn sigkeys(&self) -> Option<&Path> {
        self.sigkeys.as_deref()
    }

    /// The coordinator.
    pub fn coordinator(&self) -> Outcome<Coordinator> {
        let http = Http::new("coordinator", &self.server, self.token()?)?;
        self.warn_of_clear_token(&http);
        Ok(Coordinator { http })
    }

    /// The gateway, for the keys of the instance that is named, or of the only one.
    pub async fn gateway(&self, wanted: &InstanceArg) -> Outcome<Gateway> {
        let http = Http::new("gateway", &self.gateway, self.token()?)?;
        self.warn_of_clear_token(&http);
        let instance = match &wanted.instance {
            Some(name) => InstanceId::named(name),
            None => self.one_instance(&self.coordinator()?, wanted).await?.id,
        };
        Ok(Gateway { http, instance })
    }

    /// The instance that is named, or the only one, or the one that the person at the terminal
    /// chooses.
    pub async fn one_instance(
        &self,
        coordinator: &Coordinator,
        wanted: &InstanceArg,
    ) -> Outcome<InstanceView> {
        let mut found = self.instances(coordinator, wanted).await?;
        let which = match found.len() {
            1 => 0,
            _ if self.is_interactive() => {
                out::tell(&format!("{}\n", instances::table(&found)));
                ask::number("Choose an INSTANCE NUM:", found.len())?
            }
            _ => {
                let table = instances::table(&found);
                let what = format!("there are several instances and none is named\n\n{table}\n");
                return Err(Failure::usage(what).next("the same command with --instance NAME"));
            }
        };
        Ok(found.swap_remove(which))
    }

    /// The instance that is named, or all of them; at least one.
    pub async fn instances(
        &self,
        coordinator: &Coordinator,
        wanted: &InstanceArg,
    ) -> Outcome<Vec<InstanceView>> {
        let mut found = coordinator.instances().await?;
        if found.is_empty() {
            let what = format!("the coordinator at {} knows no instance", coordinator.http.url());
            return Err(Failure::new(Exit::Failed, "unknown-instance", what));
        }
        let Some(name) = &wanted.instance else { return Ok(found) };
        let id = InstanceId::named(name);
        let known: Vec<_> = found.iter().map(|instance| instance.name.clone()).collect();
        // An id follows from the name: what the coordinator calls by it is not looked at.
        found.retain(|instance| instance.id == id);
        match found.is_empty() {
            false => Ok(found),
            true => {
                let what = format!("there is no instance {name}; known: {}", known.join(", "));
                Err(Failure::usage(what).next("keyhelm instances"))
            }
        }
    }

    /// Whether a person can be asked.
    pub fn is_interactive(&self) -> bool {
        !self.is_json && ask::is_terminal()
    }

    /// Asks before something that cannot be taken back; without a terminal `--yes` says it.
    pub fn confirm(&self, question: &str, is_sure: bool) -> Outcome {
        if is_sure {
            return Ok(());
        }
        if !self.is_interactive() {
            let what = format!("this is not done unasked: {question}");
            return Err(Failure::usage(what).next("the same command with --yes"));
        }
        match ask::yes(question)? {
            true => Ok(()),
            false => Err(declined()),
        }
    }

    /// A line for a person, on standard output.
    pub fn line(&self, text: impl AsRef<str>) -> Outcome {
        self.painted(visible::lines(text.as_ref()))
    }

    /// The same, of what is painted: the parts that others wrote have been made visible before.
    pub fn painted(&self, text: impl AsRef<str>) -> Outcome {
        match self.is_json {
            true => Ok(()),
            false => out::answer(text.as_ref()),
        }
    }

    /// A line for a person about what is under way, on standard error.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.is_json {
            out::tell(&visible::lines(text.as_ref()));
        }
    }

    /// A warning for a person, on standard error.
    pub fn warn(&self, text: impl AsRef<str>) {
        if !self.is_json {
            let text = visible::lines(text.as_ref());
            out::tell(&format!("{} {text}", colour::warning("warning:")));
        }
    }

    /// `OK` and one sentence.
    pub fn ok(&self, sentence: impl AsRef<str>) -> Outcome {
        let sentence = visible::lines(sentence.as_ref());
        self.painted(format!("{}  {sentence}", colour::good("OK")))
    }

    /// An object for a program, on a line of standard output.
    pub fn object(&self, object: &impl Serialize) -> Outcome {
        if self.is_json {
            let text = serde_json::to_string(object).map_err(|error| {
                Failure::new(Exit::Failed, "json", format!("an answer is no JSON: {error}"))
            })?;
            return out::answer(&text);
        }
        Ok(())
    }

    fn warn_of_clear_token(&self, http: &Http) {
        if http.is_token_in_clear() && !self.is_clear_token_meant {
            self.warn(format!("the token crosses the network to {} in the clear", http.url()));
        }
    }
}

/// Somebody said no.
pub fn declined() -> Failure {
    Failure::new(Exit::Failed, "declined", "not done, as you say")
}

fn context_of(global: &Global) -> Outcome<Option<Context>> {
    let is_complete = global.server.is_some() && global.gateway.is_some();
    let name = global.context.as_deref();
    match context::load().and_then(|contexts| contexts.choose(name)) {
        Ok(found) => Ok(found.map(|(_, context)| context)),
        // A broken file is no obstacle to whoever does not need it.
        Err(_) if is_complete && name.is_none() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The URL of the other server on the same host.
fn beside(url: &str, port: u16) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
    match parsed.set_port(Some(port)) {
        Ok(()) => parsed.to_string(),
        Err(()) => url.to_owned(),
    }
}

fn read_token(path: &Path) -> Outcome<SecretText> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("token file {shown} cannot be read: {error}")))?;
    let token = SecretText::from(text.trim().to_owned());
    let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    match !token.is_empty() && is_visible(token.expose()) {
        true => Ok(token),
        false => Err(Failure::usage(format!("token file {shown} holds no token"))
            .next("keyhelm token issue --out FILE")),
    }
}
